package leasefile

func readKea(*lineReader, *book) error { return nil }
