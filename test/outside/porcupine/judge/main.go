// Judges histories of registers: reads the operations of one or more histories, one per line (JSON), and prints a verdict on each
// history: whether it is linearizable. An operation of unknown outcome returns after all others.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	History int    `json:"history"`
	Key     string `json:"key"`
	Client  int    `json:"client"`
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`
	// put, delete, cas or read.
	Kind string `json:"kind"`
	// The value written or, for a read, returned; empty if there is none. Every write has a different value.
	Value string `json:"value"`
	// The value that a cas expects.
	Expected string `json:"expected"`
	// ok, lost (a cas whose expectation did not hold) or unknown.
	Outcome string `json:"outcome"`
}

var register = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		op := input.(operation)
		current := state.(string)
		switch op.Kind {
		case "read":
			return op.Value == current, current
		case "put":
			return true, op.Value
		case "delete":
			return true, ""
		case "cas":
			holds := op.Expected == current
			if op.Outcome == "unknown" {
				if holds {
					return true, op.Value
				}
				return true, current
			}
			if op.Outcome == "lost" {
				return !holds, current
			}
			return holds, op.Value
		}
		panic("there is no operation " + op.Kind)
	},
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, one := range history {
			key := one.Input.(operation).Key
			byKey[key] = append(byKey[key], one)
		}
		parts := [][]porcupine.Operation{}
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	DescribeOperation: func(input, _ interface{}) string {
		op := input.(operation)
		return fmt.Sprintf("%s %s %q (%q) %s", op.Kind, op.Key, op.Value, op.Expected, op.Outcome)
	},
}

func main() {
	pictures := os.Args[1]
	histories := map[int][]porcupine.Operation{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var op operation
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			panic(err)
		}
		end := op.Return
		if op.Outcome == "unknown" {
			end = math.MaxInt64
		}
		histories[op.History] = append(histories[op.History],
			porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Output: nil, Return: end})
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	numbers := []int{}
	for number := range histories {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	for _, number := range numbers {
		verdict, info := porcupine.CheckOperationsVerbose(register, histories[number], 2*time.Minute)
		picture := ""
		if verdict != porcupine.Ok {
			picture = filepath.Join(pictures, fmt.Sprintf("history-%d.html", number))
			if err := porcupine.VisualizePath(register, info, picture); err != nil {
				panic(err)
			}
		}
		line, _ := json.Marshal(map[string]interface{}{
			"history": number, "operations": len(histories[number]), "verdict": string(verdict), "picture": picture})
		fmt.Println(string(line))
	}
}
