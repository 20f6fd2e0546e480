// Judges histories of registers: reads one operation a line (JSON), of one or more histories, and says which histories are not
// linearizable. An operation of which nobody knows whether it took effect returns after everything else.
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
	// What is written; of a read what was answered. Empty: nothing is there. No two writes write the same.
	Value string `json:"value"`
	// What a cas expects to be there.
	Expected string `json:"expected"`
	// ok, lost (a cas whose expectation did not hold) or unknown.
	Outcome string `json:"outcome"`
}

var register = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		op := input.(operation)
		there := state.(string)
		switch op.Kind {
		case "read":
			return op.Value == there, there
		case "put":
			return true, op.Value
		case "delete":
			return true, ""
		case "cas":
			holds := op.Expected == there
			if op.Outcome == "unknown" {
				if holds {
					return true, op.Value
				}
				return true, there
			}
			if op.Outcome == "lost" {
				return !holds, there
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
		told, _ := json.Marshal(map[string]interface{}{
			"history": number, "operations": len(histories[number]), "verdict": string(verdict), "picture": picture})
		fmt.Println(string(told))
	}
}
