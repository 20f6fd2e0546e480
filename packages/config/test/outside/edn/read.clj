;; For each line, a text in hexadecimal UTF-16: the value that Clojure's reader returns for it, as edn/plain-form.ts prints it, or "!" and the reason why it refuses.
(require '[clojure.edn :as edn] '[clojure.string :as str])
(import '(java.io PushbackReader StringReader))

(defn unhex [line]
  (let [sb (StringBuilder.)]
    (dotimes [i (quot (count line) 4)]
      (.append sb (char (Integer/parseInt (subs line (* 4 i) (+ 4 (* 4 i))) 16))))
    (str sb)))

(defn hex [text]
  (apply str (map #(format "%04x" (int %)) text)))

(defn bits [number]
  (format "%016x" (Double/doubleToLongBits (double number))))

(declare shown)

(defn older->ours [text]
  (str/replace text #"^(?:crux|xtdb)/" "cairn/"))

(defn key-of [key]
  (cond (keyword? key) (hex (older->ours (subs (str key) 1)))
        (string? key) (hex (older->ours key))
        :else (str "?" (shown key))))

(defn shown [form]
  (cond (nil? form) "nil"
        (boolean? form) (str form)
        (string? form) (str "s" (hex form))
        (keyword? form) (str "k" (hex (subs (str form) 1)))
        (symbol? form) (str "y" (hex (str form)))
        (number? form) (if (ratio? form) "?ratio" (str "d" (bits form)))
        (vector? form) (str "[" (str/join " " (map shown form)) "]")
        (seq? form) (str "(" (str/join " " (map shown form)) ")")
        (map? form) (str "{" (str/join " " (sort (map (fn [[k v]] (str (key-of k) "=" (shown v))) form))) "}")
        :else (str "?" (.getSimpleName (class form)))))

(defn answer [text]
  (try
    (let [reader (PushbackReader. (StringReader. text))
          first-form (edn/read {:eof ::end} reader)]
      (cond (= first-form ::end) "!empty"
            (not= ::end (edn/read {:eof ::end} reader)) "!more"
            :else (shown first-form)))
    (catch StackOverflowError _ "!deep")
    (catch Exception error (str "!" (str/replace (str (.getMessage error)) #"\s" " ")))))

(doseq [line (line-seq (java.io.BufferedReader. *in*))]
  (println (answer (unhex line))))
(flush)
