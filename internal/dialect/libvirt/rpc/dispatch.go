package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// take does with a message what is to be done; an error ends the connection.
// What is neither a call nor a keep-alive is dropped, as libvirt does.
func (c *conn) take(h header, payload []byte) error {
	switch {
	case h.program == programKeepAlive && h.version == programVersion && h.kind == kindMessage:
		if h.proc == procPing {
			c.out.put(keepAliveMessage(procPong), false)
		}
		return nil
	case h.kind != kindCall && h.kind != kindCallWithFDs:
		return nil
	}
	descriptors := uint32(0)
	if h.kind == kindCallWithFDs {
		if len(payload) < 4 {
			return fmt.Errorf("%w: no count of descriptors", errLength)
		}
		descriptors, payload = binary.BigEndian.Uint32(payload), payload[4:]
		if err := c.dropDescriptors(descriptors); err != nil {
			return err
		}
	}
	if err := c.slot(); err != nil {
		return err
	}
	p, err := c.judge(h, descriptors)
	if err != nil {
		c.answer(h, nil, err)
		return nil
	}
	args := p.invoke.args()
	if err := xdr.Decode(payload, args); err != nil {
		c.server.opts.Log.Debug("a libvirt call cannot be decoded", "call", p.api, "error", err)
		c.answer(h, nil, rpcErrorf(CodeRPC, "Unable to decode message payload"))
		return nil
	}
	if err := c.permit(p); err != nil {
		c.answer(h, nil, err)
		return nil
	}
	c.call(h, p, args)
	return nil
}

// slot waits until the client may have one more call outstanding.
func (c *conn) slot() error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	c.busy.Store(true)
	defer c.busy.Store(false)
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// judge finds the procedure of a call, or the error that libvirtd has for it.
func (c *conn) judge(h header, descriptors uint32) (*procedure, error) {
	if h.program != programRemote || h.version != programVersion {
		return nil, rpcErrorf(CodeRPC, "Cannot find program %d version %d", int32(h.program), int32(h.version))
	}
	if h.status != statusOK {
		return nil, rpcErrorf(CodeRPC, "Unexpected message status %d", h.status)
	}
	p, ok := find(h.proc)
	if !ok {
		return nil, rpcErrorf(CodeRPC, "unknown procedure: %d", int32(h.proc))
	}
	if descriptors > 0 {
		return nil, rpcErrorf(CodeInternal, "No FD available at slot 0")
	}
	if p.invoke.run == nil {
		if err := c.permit(p); err != nil {
			return nil, err
		}
		return nil, &Error{Code: CodeNoSupport, Domain: p.domain, Detail: p.api}
	}
	return p, nil
}

// permit refuses what comes before the connection is open, and changes where
// nothing may be changed.
func (c *conn) permit(p *procedure) error {
	switch {
	case p.access == always:
	case !c.isOpen():
		return errNotOpen(p.domain)
	case p.access == writing && c.caller().ReadOnly:
		return &Error{Code: CodeOperationDenied, Domain: p.domain, Detail: "read only access prevents " + p.api}
	}
	return nil
}

// call runs a procedure and sends its answer. One that changes the session is
// run before the next message is read.
func (c *conn) call(h header, p *procedure, args xdr.Value) {
	ctx := c.ctx
	if p.access == writing {
		ctx = c.server.ctx
	}
	if p.session {
		ret, err := c.guarded(ctx, p, args)
		c.answer(h, ret, err)
		return
	}
	c.calls.Go(func() {
		ret, err := c.guarded(ctx, p, args)
		c.answer(h, ret, err)
	})
}

// guarded keeps a fault in one call from ending all connections.
func (c *conn) guarded(ctx context.Context, p *procedure, args xdr.Value) (ret xdr.Value, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.server.opts.Log.Error("a libvirt call failed by a fault of ours", "call", p.api, "fault", fault,
				"stack", string(debug.Stack()))
			ret, err = nil, Errorf(CodeInternal, "%s failed by a fault of the server's", p.api)
		}
	}()
	return p.invoke.run(ctx, c, args)
}

// answer sends the reply to a call.
func (c *conn) answer(h header, ret xdr.Value, err error) {
	if err == nil {
		m, encodeErr := h.reply(statusOK).encode(ret)
		if encodeErr == nil {
			c.out.put(m, true)
			return
		}
		c.server.opts.Log.Error("an answer to libvirt cannot be encoded", "procedure", h.proc, "error", encodeErr)
		err = rpcErrorf(CodeRPC, "Unable to encode message payload")
	}
	m, encodeErr := h.reply(statusError).encode(asError(err).body())
	if encodeErr != nil {
		c.drop(errors.Join(err, encodeErr).Error())
		return
	}
	c.out.put(m, true)
}
