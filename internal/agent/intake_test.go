package agent

import (
	"testing"
	"testing/synctest"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestIntakeGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		updates := make(chan vnet.Update)
		go in.run(updates)
		for i := range 10 {
			updates <- vnet.Update{Revision: int64(i)}
		}
		synctest.Wait()
		<-in.wake
		all, ok := in.take()
		if len(all) != 10 || !ok {
			t.Fatalf("took %d updates, %v", len(all), ok)
		}
		for i, u := range all {
			if u.Revision != int64(i) {
				t.Errorf("update %d is %d", i, u.Revision)
			}
		}
		if all, ok = in.take(); len(all) != 0 || !ok {
			t.Errorf("then %d updates, %v", len(all), ok)
		}
		close(updates)
		<-in.wake
		if _, ok = in.take(); ok {
			t.Error("ended updates have a next one")
		}
	})
}

func TestIntakeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		updates := make(chan vnet.Update, intakeMost+2)
		for range cap(updates) {
			updates <- vnet.Update{}
		}
		go in.run(updates)
		synctest.Wait()
		if all, _ := in.take(); len(all) != intakeMost {
			t.Errorf("%d updates waited", len(all))
		}
		synctest.Wait()
		if all, _ := in.take(); len(all) != 2 {
			t.Errorf("then %d", len(all))
		}
		close(updates) // run ends, or synctest says that it does not
	})
}
