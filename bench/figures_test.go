package main

import "testing"

func TestFigures(t *testing.T) {
	for want, f := range map[string]figures{
		"–":                  nil,
		"0.500":              {0.5},
		"2.00 (1.00 – 12.3)": {12.34, 1, 2},
		"150 (100 – 200)":    {200, 100},
	} {
		if got := f.String(); got != want {
			t.Errorf("%v: %q, want %q", []float64(f), got, want)
		}
	}
	if r := ratios(figures{10, 30, 7}, figures{5, 10}); r.median() != 2.5 {
		t.Error(r)
	}
}

func TestPageKeepsOtherParts(t *testing.T) {
	texts := map[string]string{"networks": "## A\n\nold", "ports": "## C\n\nkept"}
	texts = splitPage(joinPage(texts))
	texts["networks"] = "## A\n\nnew"
	want := pageHead + "\n" + marker("networks") + "## A\n\nnew\n\n" + marker("ports") + "## C\n\nkept\n"
	if got := joinPage(texts); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"-run", "nothing"}, {"-sizes", "0"}, {"-sizes", "x"}, {"-rounds", "0"}, {"-ports", "5"}, {"-large", "9999"}, {"more"}, {"-no"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	o, err := parse([]string{"-run", "scale,ports", "-sizes", "3,4", "-large", "20", "-ports", "40"})
	if err != nil || len(o.parts) != 2 || o.sizes[1] != 4 {
		t.Error(o, err)
	}
}
