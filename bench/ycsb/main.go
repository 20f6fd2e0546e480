// ycsb runs the workloads of the Yahoo! Cloud Serving Benchmark on Cairn (HTTP), etcd or what has its API (gRPC), or
// Redis: workers read, overwrite, insert and scan documents, each one after another, and the figures are printed as JSON.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	mr "math/rand"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var (
	server     = flag.String("server", "cairn", "cairn, etcd or redis")
	at         = flag.String("at", "", "HOST:PORT of the server")
	workload   = flag.String("workload", "", "A, B, C, E, F, W (overwrites only), load, or check (reads each record once)")
	records    = flag.Uint64("records", 100_000, "the records that are loaded")
	from       = flag.Uint64("from", 0, "the number of the first record that is loaded or checked")
	batch      = flag.Uint64("batch", 100, "the records that are loaded in a transaction")
	tolerate   = flag.Duration("tolerate", 0, "count operations that fail, or take longer than this, and go on")
	fields     = flag.Int("fields", 10, "the fields of a document")
	characters = flag.Int("characters", 100, "the characters of a field")
	uniform    = flag.Bool("uniform", false, "choose records uniformly instead of zipfian")
	bounded    = flag.Bool("bounded", false, "scans of etcd end at a key that is estimated, so that it counts fewer keys")
	workers    = flag.Int("workers", 16, "the workers, each with a connection of its own")
	seconds    = flag.Float64("seconds", math.Inf(1), "the time after which the run ends")
	operations = flag.Int64("operations", math.MaxInt64, "the operations after which the run ends")
)

const (
	longest = 100
	// A worker waits after an operation that failed.
	pause = 10 * time.Millisecond
)

// Returns the time that an operation may take, as a context.
func limited() (context.Context, context.CancelFunc) {
	if *tolerate > 0 {
		return context.WithTimeout(context.Background(), *tolerate)
	}
	return context.WithCancel(context.Background())
}

// The shares of operations in a workload. What remains are overwrites.
type mix struct{ reads, scans, inserts, modifications float64 }

var mixes = map[string]mix{
	"A": {reads: 0.5},
	"B": {reads: 0.95},
	"C": {reads: 1},
	"E": {scans: 0.95, inserts: 0.05},
	"F": {reads: 0.5, modifications: 0.5},
	"W": {},
}

type target interface {
	get(key string) error
	put(key string, document []byte) error
	insert(keys []string, documents [][]byte) error
	// Returns the number of documents as well.
	scan(from uint64, limit int) (int, error)
}

type cairn struct {
	client *http.Client
	base   string
}

func (c cairn) do(method, path string, body []byte) ([]byte, error) {
	limit, end := limited()
	defer end()
	request, err := http.NewRequestWithContext(limit, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("content-type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer, err
}
func (c cairn) get(key string) error {
	_, err := c.do("GET", "/api/v1/ycsb/default/"+key, nil)
	return err
}
func (c cairn) put(key string, document []byte) error {
	_, err := c.do("PUT", "/api/v1/ycsb/default/"+key, document)
	return err
}
func (c cairn) insert(keys []string, documents [][]byte) error {
	if len(keys) == 1 {
		return c.put(keys[0], documents[0])
	}
	ops := make([][]any, len(keys))
	for i := range keys {
		ops[i] = []any{"put", "ycsb", keys[i], json.RawMessage(documents[i])}
	}
	body, err := json.Marshal(map[string]any{"ops": ops})
	if err != nil {
		return err
	}
	_, err = c.do("POST", "/api/v1/tx?await=true", body)
	return err
}
func (c cairn) scan(from uint64, limit int) (int, error) {
	path := fmt.Sprintf("/api/v1/ycsb?namespace=default&from=%s&limit=%d", key(from), limit)
	answer, err := c.do("GET", path, nil)
	return bytes.Count(answer, []byte(`"revision":`)), err
}

type etcd struct{ client *clientv3.Client }

func (c etcd) get(key string) error {
	limit, end := limited()
	defer end()
	response, err := c.client.Get(limit, key)
	if err == nil && len(response.Kvs) == 0 {
		err = fmt.Errorf("there is no %s", key)
	}
	return err
}
func (c etcd) put(key string, document []byte) error {
	limit, end := limited()
	defer end()
	_, err := c.client.Put(limit, key, string(document))
	return err
}
func (c etcd) insert(keys []string, documents [][]byte) error {
	if len(keys) == 1 {
		return c.put(keys[0], documents[0])
	}
	puts := make([]clientv3.Op, len(keys))
	for i := range keys {
		puts[i] = clientv3.OpPut(keys[i], string(documents[i]))
	}
	_, err := c.client.Txn(context.Background()).Then(puts...).Commit()
	return err
}

// The API has no way to leave out the number of keys in the range, so etcd visits all of them, beyond the limit, too.
// Keys are spread evenly, so a bounded scan can end after a range with about twice as many keys as it wants.
func (c etcd) scan(from uint64, limit int) (int, error) {
	end := clientv3.WithFromKey()
	last := from + uint64(2*limit+10)*(math.MaxUint64 / *records)
	if *bounded && last > from {
		end = clientv3.WithRange(key(last))
	}
	response, err := c.client.Get(context.Background(), key(from), end, clientv3.WithLimit(int64(limit)))
	if err != nil {
		return 0, err
	}
	return len(response.Kvs), nil
}

type overRedis struct{ client *redis.Client }

// The members of a sorted set with equal scores are in the order of their bytes.
const index = "index"

func (c overRedis) get(key string) error { return c.client.Get(context.Background(), key).Err() }
func (c overRedis) put(key string, document []byte) error {
	return c.client.Set(context.Background(), key, document, 0).Err()
}
func (c overRedis) insert(keys []string, documents [][]byte) error {
	_, err := c.client.TxPipelined(context.Background(), func(pipe redis.Pipeliner) error {
		for i := range keys {
			pipe.Set(context.Background(), keys[i], documents[i], 0)
			pipe.ZAdd(context.Background(), index, redis.Z{Member: keys[i]})
		}
		return nil
	})
	return err
}
func (c overRedis) scan(from uint64, limit int) (int, error) {
	by := redis.ZRangeBy{Min: "[" + key(from), Max: "+", Count: int64(limit)}
	keys, err := c.client.ZRangeByLex(context.Background(), index, &by).Result()
	if err != nil {
		return 0, err
	}
	return len(keys), c.client.MGet(context.Background(), keys...).Err()
}

func connect() target {
	switch *server {
	case "etcd":
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{*at}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			log.Fatal(err)
		}
		return etcd{client}
	case "redis":
		return overRedis{redis.NewClient(&redis.Options{Addr: *at, PoolSize: 1})}
	default:
		return cairn{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}, "http://" + *at}
	}
}

// Returns the place of a record among the keys. Different records have different ones, since the factor is odd.
func place(record uint64) uint64 { return record * 0x9E3779B97F4A7C15 }

func key(place uint64) string { return fmt.Sprintf("k%016x", place) }

// Random text that documents are cut from: making it anew for each would cost more than sending it.
var text = func() string {
	random := make([]byte, 1<<20)
	rand.Read(random)
	return base64.StdEncoding.EncodeToString(random)
}()

func document(source *mr.Rand) []byte {
	values := map[string]string{}
	for i := range *fields {
		from := source.Intn(len(text) - *characters)
		values[fmt.Sprintf("field%d", i)] = text[from : from+*characters]
	}
	encoded, err := json.Marshal(values)
	if err != nil {
		log.Fatal(err)
	}
	return encoded
}

type figures struct {
	Operations   int     `json:"operations"`
	Failed       int     `json:"failed"`
	Seconds      float64 `json:"seconds"`
	Scans        int     `json:"scans"`
	Scanned      int     `json:"scanned"`
	Writes       int     `json:"writes"`
	WrittenBytes int     `json:"writtenBytes"`
	P50          float64 `json:"p50"`
	P99          float64 `json:"p99"`
	milliseconds []float64
	begun        atomic.Int64
	lock         sync.Mutex
}

// Writes batches of records, or reads each record, until all are done or the time is over.
func (f *figures) loadOrCheck(to target, source *mr.Rand, until time.Time) error {
	isCheck, size := *workload == "check", *batch
	if isCheck {
		size = 1
	}
	end := *from + *records
	var milliseconds []float64
	count, failed := 0, 0
	for time.Now().Before(until) {
		first := *from + uint64(f.begun.Add(int64(size))) - size
		if first >= end {
			break
		}
		var keys []string
		var documents [][]byte
		for record := first; record < min(first+size, end); record++ {
			keys = append(keys, key(place(record)))
			if !isCheck {
				documents = append(documents, document(source))
			}
		}
		begin := time.Now()
		var err error
		if isCheck {
			err = to.get(keys[0])
		} else {
			err = to.insert(keys, documents)
			milliseconds = append(milliseconds, float64(time.Since(begin).Microseconds())/1000)
		}
		if err == nil {
			count += len(keys)
		} else if failed += len(keys); *tolerate == 0 {
			return err
		} else {
			time.Sleep(pause)
		}
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	f.Operations, f.Failed = f.Operations+count, f.Failed+failed
	f.milliseconds = append(f.milliseconds, milliseconds...)
	return nil
}

// Executes operations until the time or the number is over.
func (f *figures) work(to target, source *mr.Rand, shares mix, until time.Time) error {
	zipf := mr.NewZipf(source, 1.01, 1, *records-1)
	var milliseconds []float64
	count, written, scans, scanned := 0, 0, 0, 0
	write := func(send func(document []byte) error) error {
		document := document(source)
		begin := time.Now()
		err := send(document)
		milliseconds = append(milliseconds, float64(time.Since(begin).Microseconds())/1000)
		written += len(document)
		return err
	}
	for time.Now().Before(until) && f.begun.Add(1) <= *operations {
		record := zipf.Uint64()
		if *uniform {
			record = source.Uint64() % *records
		}
		name := key(place(record))
		put := func(document []byte) error { return to.put(name, document) }
		var err error
		switch which := source.Float64(); {
		case which < shares.reads:
			err = to.get(name)
		case which < shares.reads+shares.scans:
			var found int
			found, err = to.scan(place(record), 1+source.Intn(longest))
			scans, scanned = scans+1, scanned+found
		case which < shares.reads+shares.scans+shares.inserts:
			// A new record differs from those of earlier runs, since it is numbered by the time.
			name := key(place(uint64(time.Now().UnixNano())<<8 | uint64(source.Intn(1<<8))))
			err = write(func(document []byte) error { return to.insert([]string{name}, [][]byte{document}) })
		case which < shares.reads+shares.scans+shares.inserts+shares.modifications:
			if err = to.get(name); err == nil {
				err = write(put)
			}
		default:
			err = write(put)
		}
		if err != nil {
			return err
		}
		count++
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	f.Operations, f.WrittenBytes = f.Operations+count, f.WrittenBytes+written
	f.Scans, f.Scanned = f.Scans+scans, f.Scanned+scanned
	f.milliseconds = append(f.milliseconds, milliseconds...)
	return nil
}

func main() {
	flag.Parse()
	shares, known := mixes[*workload]
	if !known && *workload != "load" && *workload != "check" {
		log.Fatalf("there is no workload %q", *workload)
	}
	var result figures
	var group sync.WaitGroup
	begin := time.Now()
	// An endless duration cannot be added to a time.
	until := begin.Add(time.Duration(min(*seconds, 1e6) * float64(time.Second)))
	for worker := range *workers {
		group.Go(func() {
			source := mr.New(mr.NewSource(int64(worker) + begin.UnixNano()))
			to := connect()
			var err error
			if known {
				err = result.work(to, source, shares, until)
			} else {
				err = result.loadOrCheck(to, source, until)
			}
			if err != nil {
				log.Fatal(err)
			}
		})
	}
	group.Wait()
	result.Seconds = time.Since(begin).Seconds()
	result.Writes = len(result.milliseconds)
	if result.Writes > 0 {
		slices.Sort(result.milliseconds)
		result.P50 = result.milliseconds[result.Writes/2]
		result.P99 = result.milliseconds[result.Writes*99/100]
	}
	if err := json.NewEncoder(os.Stdout).Encode(&result); err != nil {
		log.Fatal(err)
	}
}
