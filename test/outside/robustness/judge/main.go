// Makes etcd's robustness validator judge histories: reads histories, one per line (JSON), and prints a verdict on each.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
	"go.etcd.io/etcd/tests/v3/robustness/validate"
	"go.uber.org/zap"
)

const linearizedWithin = 2 * time.Minute

type verdict struct {
	History    int    `json:"history"`
	Operations int    `json:"operations"`
	Events     int    `json:"events"`
	Refusal    string `json:"refusal"`
	// Whether everything was checked. The validator checks watches and reads of the past only if something was written.
	IsWhole bool `json:"isWhole"`
}

func main() {
	pictures := os.Args[1]
	verdicts := json.NewEncoder(os.Stdout)
	// The validator prints differences to the standard output.
	os.Stdout = os.Stderr
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(zap.ErrorLevel)
	config.DisableStacktrace = true
	logger := zap.Must(config.Build())
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		var h history
		if err == nil {
			err = json.Unmarshal(line, &h)
		}
		if err == nil {
			err = verdicts.Encode(judge(logger, h, pictures))
		}
		if err != nil {
			panic(err)
		}
	}
}

func judge(logger *zap.Logger, h history, pictures string) verdict {
	t := newTimeline(h)
	reports := append([]report.ClientReport{t.operations(h)}, t.watches(h)...)
	made := verdict{History: h.History, Operations: len(h.Operations)}
	for _, r := range reports {
		made.Events += r.WatchEventCount()
	}
	model.LinearizationDeadlineTripped.Store(0)
	result := validate.ValidateAndReturnVisualize(logger, validate.Config{}, reports, t.requests, linearizedWithin)
	if err := result.Error(); err != nil {
		made.Refusal = err.Error()
	}
	made.IsWhole = result.Watch.Status == validate.Success && result.Serializable.Status == validate.Success
	if result.Linearization.Status == validate.Failure {
		picture := filepath.Join(pictures, fmt.Sprintf("history-%d.html", h.History))
		if err := porcupine.VisualizePath(result.Linearization.Model, result.Linearization.Info, picture); err != nil {
			panic(err)
		}
	}
	return made
}
