// Package archtest holds the laws of the architecture as tests: who may
// import whom, where the dangerous tools may be used, how files are named.
//
// It parses the sources itself. A test that asked `go list` would pass from
// the test cache while a law is broken, because the cache cannot know that
// another package's file matters; files that a test opens, it does know.
package archtest
