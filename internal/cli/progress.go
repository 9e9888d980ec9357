package cli

import (
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// patience is how long a wait may take before a terminal is told about it.
const patience = time.Second

// progress shows on a terminal that the command is waiting for its host. The
// function it returns ends that, and leaves nothing on the screen.
func (c *call) progress(what string) (stop func()) {
	f, ok := c.Stdout.(*os.File)
	if !ok || c.output != "" || !cwriter.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	begun, done := time.Now(), make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		p := mpb.New(mpb.WithOutput(f))
		bar := p.New(0, mpb.SpinnerStyle().PositionLeft(), mpb.BarWidth(1), mpb.BarRemoveOnComplete(),
			mpb.AppendDecorators(decor.Name(what+": waiting for the host "), decor.NewElapsed(decor.ET_STYLE_GO, begun)))
		<-done
		bar.Abort(true)
		p.Wait()
	})
	return func() {
		close(done)
		shown.Wait()
	}
}

// bar shows on a terminal how much of something long is done. It returns what
// tells it, and what ends it and leaves nothing on the screen.
func (c *call) bar(what string, total int) (advance func(int), stop func()) {
	f, ok := c.Stdout.(*os.File)
	if !ok || c.output != "" || total == 0 || !cwriter.IsTerminal(int(f.Fd())) {
		return func(int) {}, func() {}
	}
	p := mpb.New(mpb.WithOutput(f))
	bar := p.AddBar(int64(total), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(what+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d of %d "), decor.AverageETA(decor.ET_STYLE_GO)))
	return func(n int) { bar.IncrBy(n) }, func() {
		bar.Abort(true)
		p.Wait()
	}
}
