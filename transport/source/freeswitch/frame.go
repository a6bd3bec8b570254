package freeswitch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of a frame. An event carries all variables of its channel and has some 10 KB. The answer to show channels has about 1 KB for
// each channel.
const (
	maxLine   = 8 << 10  // bytes of one header line
	maxLines  = 64       // header lines, and empty lines before them
	maxEvent  = 1 << 20  // bytes of the body of an event
	maxAnswer = 64 << 20 // bytes of the answer to a command
)

// errFrame says that what came is no frame of the event socket. The connection is then of no use any more, because nobody knows where the
// next frame begins.
var errFrame = errors.New("this is not the event socket's protocol")

// The Content-Types of frames.
const (
	authRequest      = "auth/request"
	commandReply     = "command/reply"
	apiResponse      = "api/response"
	eventJSON        = "text/event-json"
	disconnectNotice = "text/disconnect-notice"
	rudeRejection    = "text/rude-rejection"
)

// frame is one message of the event socket: header lines, an empty line, and a body of Content-Length bytes.
type frame struct {
	kind  string // Content-Type
	reply string // Reply-Text
	body  []byte
}

// readFrame reads the next frame. r must have a buffer of maxLine bytes. The memory for a body is taken as the body comes, not as its
// Content-Length promises.
func readFrame(r *bufio.Reader) (f frame, err error) {
	length, headers := -1, 0
	for lines := 0; ; lines++ {
		if lines > maxLines {
			return f, fmt.Errorf("%w: a frame has more than %d header lines", errFrame, maxLines)
		}
		raw, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return f, fmt.Errorf("%w: a header line has more than %d bytes: %.60q", errFrame, r.Size(), raw)
		}
		if err != nil {
			if err == io.EOF && (headers > 0 || len(raw) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return f, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if line == "" {
			if headers == 0 {
				continue
			}
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return f, fmt.Errorf("%w: the header line %.60q has no colon", errFrame, line)
		}
		headers++
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Content-Type"):
			f.kind = value
		case strings.EqualFold(name, "Reply-Text"):
			f.reply = value
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil || length >= 0 && int(n) != length {
				return f, fmt.Errorf("%w: Content-Length is %.60q", errFrame, value)
			}
			length = int(n)
		}
	}
	most := maxEvent
	if f.kind == apiResponse {
		most = maxAnswer
	}
	if length > most {
		return f, fmt.Errorf("%w: the body of a %.40q has %d bytes; it may have at most %d", errFrame, f.kind, length, most)
	}
	if length > 0 {
		var body bytes.Buffer
		if _, err := io.CopyN(&body, r, int64(length)); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return f, err
		}
		f.body = body.Bytes()
	}
	return f, nil
}
