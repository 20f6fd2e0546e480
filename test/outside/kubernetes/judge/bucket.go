// Package judge runs Kubernetes' own tests of its storage against a node of Cairn. Kubernetes' etcd3 store runs
// unchanged. Only the client of etcd below it is another one, which keeps the keys in a bucket of Cairn over HTTP.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// namespace has the documents of the store. Their names are its keys without the first slash.
	namespace = "registry"
	// pageSize is small, so that lists of the tests have several pages.
	pageSize = "100"
)

// bucket is a bucket of a node of Cairn. A revision of etcd is the id of a transaction.
type bucket struct {
	url  string
	name string
}

// stored is the document of a key. Lease is the time to live in seconds, which a rule of the policy `expire` names.
type stored struct {
	Value string `json:"value"`
	Lease int64  `json:"lease,omitempty"`
}

type document struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	Document stored `json:"document"`
}

func (d document) keyValue() *mvccpb.KeyValue {
	return &mvccpb.KeyValue{
		Key:         []byte("/" + d.Name),
		Value:       []byte(d.Document.Value),
		ModRevision: d.Revision,
		// Only whether both are equal matters, and only in the events of a watch.
		CreateRevision: d.Revision,
	}
}

// refusal is a response with an error.
type refusal struct {
	status int
	Reason struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.status, r.Reason.Code, r.Reason.Message)
}

// send returns a response without an error. The caller closes its body.
func (b bucket) send(ctx context.Context, method, path string, header http.Header, body any) (*http.Response, error) {
	var content io.Reader
	switch given := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(given)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, b.url+path, content)
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil && ctx.Err() != nil {
		// The store compares with the error itself.
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	refused := &refusal{status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(refused); err != nil {
		return nil, err
	}
	return nil, refused
}

// ask decodes a response, and returns its headers.
func (b bucket) ask(ctx context.Context, method, path string, header http.Header, body, answer any) (http.Header, error) {
	response, err := b.send(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return response.Header, json.NewDecoder(response.Body).Decode(answer)
}

// keys is what a bucket contains of a range of keys.
type keys struct {
	found []*mvccpb.KeyValue
	// count includes those that a limit left out.
	count    int64
	revision int64
	position string
}

var nextPage = regexp.MustCompile(`^<([^>]*)>; rel="next"`)

// list returns the keys from `from` on and before `to` as of a revision (0: now), at most `limit` of them (0: all).
func (b bucket) list(ctx context.Context, from, to string, revision, limit int64) (keys, error) {
	query := url.Values{"namespace": {namespace}, "from": {nameOf(from)}, "to": {nameOf(to)}, "limit": {pageSize}}
	if revision == 0 {
		query.Set("linearizable", "true")
	} else {
		query.Set("as-of", strconv.FormatInt(revision, 10))
	}
	listed := keys{found: []*mvccpb.KeyValue{}}
	path := "/api/v1/" + b.name + "?" + query.Encode()
	for path != "" {
		page := []document{}
		header, err := b.ask(ctx, http.MethodGet, path, nil, nil, &page)
		if err != nil {
			return keys{}, readError(err)
		}
		if listed.revision, err = strconv.ParseInt(header.Get("Cairn-Tx"), 10, 64); err != nil {
			return keys{}, err
		}
		listed.position = header.Get("Cairn-Position")
		for _, one := range page {
			if limit == 0 || listed.count < limit {
				listed.found = append(listed.found, one.keyValue())
			}
			listed.count++
		}
		path = ""
		if next := nextPage.FindStringSubmatch(header.Get("Link")); next != nil {
			path = next[1]
		}
	}
	return listed, nil
}

// readError returns the error of etcd for a read as of a revision that is no longer, or not yet, there.
func readError(err error) error {
	if isGone(err) {
		return rpctypes.ErrCompacted
	}
	if refused, ok := err.(*refusal); ok && refused.status == http.StatusBadRequest {
		return rpctypes.ErrFutureRev
	}
	return err
}

// isGone tells whether the history that a request needs was removed.
func isGone(err error) bool {
	refused, ok := err.(*refusal)
	return ok && refused.status == http.StatusGone
}

func (b bucket) get(ctx context.Context, key string, revision int64) (*mvccpb.KeyValue, int64, error) {
	listed, err := b.list(ctx, key, key+"\x00", revision, 0)
	if err != nil || len(listed.found) == 0 {
		return nil, listed.revision, err
	}
	return listed.found[0], listed.revision, nil
}

// write puts or deletes (without a document) a key that is at a revision (0: that does not exist). Returns the revision
// of the write; 0 if the key is at another one.
func (b bucket) write(ctx context.Context, key string, expected int64, put *stored) (int64, error) {
	condition := http.Header{"If-None-Match": {"*"}}
	if expected != 0 {
		condition = http.Header{"If-Match": {fmt.Sprintf(`"%d"`, expected)}}
	}
	path := "/api/v1/" + b.name + "?" + url.Values{"key": {namespace + "/" + nameOf(key)}}.Encode()
	method, body := http.MethodDelete, any(nil)
	if put != nil {
		method, body = http.MethodPut, put
	}
	var written struct {
		TxID int64 `json:"txId"`
	}
	_, err := b.ask(ctx, method, path, condition, body, &written)
	if refused, ok := err.(*refusal); ok && refused.status == http.StatusPreconditionFailed {
		return 0, nil
	}
	return written.TxID, err
}

// submit stores transactions of any content that the tests do not see, and returns the id of the last one.
func (b bucket) submit(ctx context.Context, count int) (int64, error) {
	line := fmt.Sprintf(`{"ops":[["put",%q,"other/filler",0]]}`+"\n", b.name)
	var submitted struct {
		LastTxID int64 `json:"lastTxId"`
	}
	header := http.Header{"Content-Type": {"application/x-ndjson"}}
	path := "/api/v1/tx/batch?await=true"
	_, err := b.ask(ctx, http.MethodPost, path, header, strings.Repeat(line, count), &submitted)
	return submitted.LastTxID, err
}

// configure replaces the policies of the cluster.
func (b bucket) configure(ctx context.Context, policies map[string]any) error {
	var configured struct{}
	_, err := b.ask(ctx, http.MethodPut, "/api/v1/policies", nil, policies, &configured)
	return err
}

// position returns the position after a transaction.
func (b bucket) position(ctx context.Context, revision int64) (string, error) {
	if revision == 0 {
		return "0", nil
	}
	var outcome struct {
		Position string `json:"position"`
	}
	_, err := b.ask(ctx, http.MethodGet, fmt.Sprintf("/api/v1/tx/%d", revision), nil, nil, &outcome)
	return outcome.Position, err
}

func nameOf(key string) string {
	return strings.TrimPrefix(key, "/")
}
