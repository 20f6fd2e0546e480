package main

// What the program that makes histories writes: test/outside/robustness/history.ts describes it.

type history struct {
	History    int         `json:"history"`
	LastTxID   int64       `json:"lastTxId"`
	Messages   []message   `json:"messages"`
	Operations []operation `json:"operations"`
	Watches    []watch     `json:"watches"`
}

type step struct {
	Op       string `json:"op"`
	Key      string `json:"key"`
	Value    string `json:"value"`
	Revision *int64 `json:"revision"`
}

type message struct {
	TxID  int64  `json:"txId"`
	ID    string `json:"id"`
	Steps []step `json:"steps"`
}

type operation struct {
	Client int    `json:"client"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	Kind   string `json:"kind"`
	// Of a write.
	Steps  []step `json:"steps"`
	Answer answer `json:"answer"`
	// Of a read.
	Of        string     `json:"of"`
	Key       string     `json:"key"`
	Namespace string     `json:"namespace"`
	TxID      int64      `json:"txId"`
	Documents []document `json:"documents"`
}

type answer struct {
	Kind      string `json:"kind"`
	TxID      int64  `json:"txId"`
	Committed bool   `json:"committed"`
	Existed   *bool  `json:"existed"`
}

type document struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
}

type watch struct {
	Namespace   string       `json:"namespace"`
	Base        []document   `json:"base"`
	Connections []connection `json:"connections"`
}

type connection struct {
	FromTxID int64   `json:"fromTxId"`
	Events   []event `json:"events"`
}

type event struct {
	TxID       int64    `json:"txId"`
	IsProgress bool     `json:"isProgress"`
	Changes    []change `json:"changes"`
}

type change struct {
	Op       string `json:"op"`
	Key      string `json:"key"`
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
}
