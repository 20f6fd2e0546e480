;; For each line, a text in hexadecimal UTF-16: its length as java.time reads it, in nanoseconds, or "!" and why it refuses.
(import '(java.time Duration))

(defn unhex [line]
  (let [sb (StringBuilder.)]
    (dotimes [i (quot (count line) 4)]
      (.append sb (char (Integer/parseInt (subs line (* 4 i) (+ 4 (* 4 i))) 16))))
    (str sb)))

(defn answer [text]
  (try
    (let [read (Duration/parse text)]
      (str (+ (* 1000000000N (.getSeconds read)) (.getNano read))))
    (catch Exception _ "!")))

(doseq [line (line-seq (java.io.BufferedReader. *in*))]
  (println (answer (unhex line))))
(flush)
