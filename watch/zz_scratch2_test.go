package watch

import (
	"fmt"
	"os"
	"testing"
)

func TestScratchEvents(t *testing.T) {
	n := os.Getenv("CAP")
	if n == "" {
		t.Skip()
	}
	for _, e := range watchCapture(t, n) {
		s := fmt.Sprint(e.Kind, " ", e.Sighting.Packet, " ", e.Device.Value, "->", e.Peer.Value)
		for _, a := range e.Attrs() {
			s += fmt.Sprintf(" %d=%d%q", a.Key, a.Int, a.Text)
		}
		t.Log(s)
	}
}
