;; Writes the transactions of an XTDB 1.x node as NDJSON for `cairn load`, as docs/moving-from-xtdb.md describes.
(require '[xtdb.api :as xt] '[clojure.data.json :as json] '[clojure.java.io :as io] '[clojure.string :as str])
(import '(java.io Writer) '(java.math MathContext RoundingMode) '(java.nio.charset StandardCharsets) '(java.util Base64 Date PriorityQueue Comparator))

(def max-safe-integer 9007199254740991)
(def max-depth 500)
(def max-name-bytes 1024)
(defn refuse [reason message] (throw (ex-info message {::reason reason})))

(defn iso [^Date date] (str (.toInstant date)))

(defn well-formed [^String text]
  (if (.canEncode (.newEncoder StandardCharsets/UTF_8) text)
    text
    (refuse "value" "A text has half of a surrogate pair, which UTF-8 cannot contain.")))

(defn named [value] (well-formed (str (symbol value))))

(defn shortest
  "Returns the shortest decimal that is read as a number: Cairn refuses others, and Java may print a longer one."
  [exact]
  (first (for [digits (range 1 18)
               mode [RoundingMode/HALF_EVEN RoundingMode/UP]
               :let [decimal (.round (BigDecimal. (double exact)) (MathContext. digits mode))]
               :when (== exact (.doubleValue decimal))]
           decimal)))

(defn number [value]
  (cond
    (or (ratio? value) (decimal? value)) (str value)
    (integer? value) (if (<= (- max-safe-integer) value max-safe-integer) value (str value))
    :else
    (let [exact (double value)]
      (cond
        (or (Double/isNaN exact) (Double/isInfinite exact)) (refuse "value" (str "JSON has no number " exact "."))
        (> (Math/abs exact) max-safe-integer) (str exact)
        (== exact (Math/rint exact)) (long exact)
        :else (shortest exact)))))

(defn member-name [value]
  (cond
    (string? value) (well-formed value)
    (or (keyword? value) (symbol? value)) (named value)
    (or (integer? value) (uuid? value)) (str value)
    :else (refuse "value" (str "A map has a key of " (.getName (class value)) ", which has no counterpart in JSON."))))

(defn json-value
  "Returns the value in which JSON keeps an EDN value, by the table of docs/moving-from-xtdb.md."
  ([value] (json-value value 0))
  ([value depth]
   (when (and (coll? value) (>= depth max-depth)) (refuse "value" "The document has more than 500 nested lists and maps."))
   (cond
     (or (nil? value) (boolean? value)) value
     (string? value) (well-formed value)
     (or (keyword? value) (symbol? value)) (named value)
     (char? value) (well-formed (str value))
     (number? value) (number value)
     (inst? value) (if (instance? Date value) (iso value) (str value))
     (or (uuid? value) (uri? value) (instance? java.net.URL value)) (str value)
     (instance? java.time.temporal.TemporalAccessor value) (str value)
     (instance? java.time.temporal.TemporalAmount value) (str value)
     (bytes? value) (.encodeToString (Base64/getEncoder) value)
     (map? value)
     (let [members (map (fn [[k v]] [(member-name k) (json-value v (inc depth))]) value)
           object (into (sorted-map) members)]
       (when (< (count object) (count value)) (refuse "value" "Two keys of a map have the same name in JSON."))
       object)
     (set? value) (vec (sort-by json/write-str (map #(json-value % (inc depth)) value)))
     (sequential? value) (mapv #(json-value % (inc depth)) value)
     :else (refuse "value" (str "A value of " (.getName (class value)) " has no counterpart in JSON.")))))

(defn id-text
  "Returns the text of an id for the report. XTDB's hash stands for an id that it does not contain (any more)."
  [id]
  (if (string? id) id (str id)))

(defn key-of
  "Returns the key of an entity. An id that is not a string gives way to a string of the same text."
  [db {:keys [namespace]} id]
  (when (map? id) (refuse "key" "An id that is a map has no text of its own: the order of its entries is open."))
  (let [text (well-formed (str id))]
    (when-not (<= 1 (alength (.getBytes text "UTF-8")) max-name-bytes)
      (refuse "key" "A name has 1 to 1,024 bytes."))
    (when (and (not (string? id)) (seq (xt/entity-history db text :asc)))
      (refuse "key" (str "The string " (pr-str text) " is the id of another entity and has the same key.")))
    (str namespace "/" text)))

(defn state
  "Returns the document of an entity that is valid at a time, as of a transaction, or nil."
  [node id valid-time tx]
  (let [db (xt/db node {::xt/valid-time valid-time ::xt/tx tx})]
    (when-let [found (xt/entity-tx db id)]
      (when-let [document (xt/entity db id)]
        (when-not (::xt/evicted? document)
          {:hash (::xt/content-hash found) :document document})))))

(defn stored
  "Returns a document in the form that Cairn stores. Throws if it has no counterpart."
  [document]
  (when (:xt/fn document) (refuse "function" "A transaction function is code, not data."))
  (json-value document))

(defn fits? [document] (try (stored document) true (catch clojure.lang.ExceptionInfo _ false)))

(defn flat-ops
  "Returns the operations of a transaction that have an effect, in their order, with those of its functions."
  [ops]
  (mapcat (fn [[kind & args :as op]]
            (case kind
              (::xt/put ::xt/delete ::xt/evict) [op]
              ::xt/fn (flat-ops (:xtdb.api/tx-ops (second args)))
              []))
          ops))

(defn op-id [[kind value]] (if (= kind ::xt/put) (:xt/id value) value))

(defn report! [{:keys [^Writer report counts]} entry]
  (swap! counts update :reported inc)
  (.write report (str (json/write-str entry :escape-unicode false :escape-slash false) "\n"))
  (.flush report))

(defn line! [{:keys [^Writer output counts]} id ops]
  (swap! counts update :lines inc)
  (.write output (str (json/write-str {"id" id "ops" ops} :escape-unicode false :escape-slash false) "\n"))
  (.flush output))

(defn attempt
  "Returns what a function returns, or reports why it refused, and returns nil."
  [run entry f]
  (try (f)
       (catch clojure.lang.ExceptionInfo e
         (when-not (::reason (ex-data e)) (throw e))
         (report! run (assoc entry "reason" (::reason (ex-data e)) "message" (ex-message e)))
         nil)))

(defn effects
  "Returns the operation that leads from one document of an entity to another, if there is one."
  [{:keys [options latest] :as run} tx-id id before after]
  (let [entry {"tx" tx-id "id" (id-text id)}
        key (attempt run entry #(key-of latest options id))
        put (when (and key after) (attempt run entry #(vector "put" (:bucket options) key (stored after))))]
    (cond
      put [put]
      (and key before (fits? before)) [["delete" (:bucket options) key]])))

(defn valid-time-loss [tx-time [kind _ start end]]
  (cond
    (or (= kind ::xt/evict) (nil? start)) nil
    (.after ^Date start tx-time) "future"
    (or end (.before ^Date start tx-time)) "past"))

(defn known-id
  "Returns an id for which the log may have only the hash, from a document that has it."
  [{:keys [latest]} id]
  (or (some #(get-in % [::xt/doc :xt/id]) (xt/entity-history latest id :asc {:with-docs? true :with-corrections? true})) id))

(defn report-op
  "Reports an operation whose valid time is not from its transaction onwards, with what is lost."
  [run {::xt/keys [tx-id tx-time]} [kind value start end :as op]]
  (when-let [reason (when-not (::xt/evicted? value) (valid-time-loss tx-time op))]
    (let [id (if (= kind ::xt/put) (:xt/id value) (known-id run value))]
      (report! run (cond-> {"tx" tx-id "id" (id-text id) "op" (name kind) "reason" reason
                            "validFrom" (iso start) "validTo" (some-> end iso)}
                     (= kind ::xt/put)
                     (assoc "document" (try (json-value value) (catch clojure.lang.ExceptionInfo _ (pr-str value)))))))))

(defn due
  "Takes the ids from the queue whose valid time began or ended by a time."
  [^PriorityQueue queue ^Date time]
  (loop [ids []]
    (let [[at id] (.peek queue)]
      (if (and at (not (.after ^Date at time)))
        (do (.poll queue) (recur (conj ids id)))
        ids))))

(defn evict-unknown [{:keys [options] :as run} tx-id id]
  ;; XTDB keeps only the hash of an evicted id. An export from the beginning never contained the document.
  (when (pos? (:from options))
    (report! run {"tx" tx-id "id" (str id) "op" "evict" "reason" "evict"
                  "message" "XTDB keeps only the SHA-1 of this id. Evict its document in Cairn."})))

(defn transaction! [{:keys [node options] :as run} previous {::xt/keys [tx-id tx-time] :as tx} ops ids]
  (doseq [op ops]
    (report-op run tx op)
    (when (= (first op) ::xt/evict) (evict-unknown run tx-id (second op))))
  (let [changed (for [id ids
                      :let [before (when previous (state node id (::xt/tx-time previous) previous))
                            after (state node id tx-time tx)]
                      :when (not= (:hash before) (:hash after))
                      :let [found (get-in (or after before) [:document :xt/id])]]
                  (effects run tx-id found (:document before) (:document after)))
        ops (vec (apply concat changed))]
    (when (seq ops) (line! run (str "xtdb-" tx-id) ops))))

(defn export-log! [{:keys [node options through] :as run}]
  (let [queue (PriorityQueue. 11 (reify Comparator (compare [_ [a] [b]] (.compareTo ^Date a b))))]
    (with-open [log (xt/open-tx-log node nil true)]
      (reduce
       (fn [previous {::xt/keys [tx-id tx-time tx-ops]}]
         (let [tx {::xt/tx-id tx-id ::xt/tx-time tx-time}
               ops (flat-ops tx-ops)
               begun (due queue tx-time)
               ids (vals (into (array-map) (map (juxt #(str (xtdb.codec/new-id %)) identity))
                               (concat begun (map op-id ops))))]
           (doseq [[kind _ & times :as op] ops at times
                   :when (and (inst? at) (not= kind ::xt/evict) (.after ^Date at tx-time))]
             (.add queue [at (op-id op)]))
           (when (>= tx-id (:from options)) (transaction! run previous tx ops ids))
           tx))
       ;; Another node may write further transactions, which this one has not indexed.
       nil (take-while #(<= (::xt/tx-id %) through) (iterator-seq log))))))

(def usage "usage: clojure.main export.clj --config FILE --output FILE [--report FILE] [--bucket NAME]
  [--namespace NAME] [--from TX] [--skip]")

(defn fail [message] (binding [*out* *err*] (println message)) (System/exit 2))

(defn parse-tx [text] (when (re-matches #"\d{1,15}" text) (Long/parseLong text)))

(defn parse [args]
  (loop [options {:bucket "xtdb" :namespace "default" :from 0} [flag value & more :as left] args]
    (let [option (keyword (str/replace-first (or flag "") "--" ""))]
      (cond
        (empty? left) options
        (= flag "--skip") (recur (assoc options :skip true) (rest left))
        (nil? value) (fail usage)
        (#{"--config" "--output" "--report" "--namespace" "--bucket"} flag) (recur (assoc options option value) more)
        (= flag "--from") (recur (assoc options option (or (parse-tx value) (fail usage))) more)
        :else (fail usage)))))

(let [{:keys [config output report skip] :as options} (parse *command-line-args*)
      report (or report (str output ".report"))]
  (when-not (and config output (.isFile (io/file config))) (fail usage))
  (with-open [node (xt/start-node (io/file config))
              out (io/writer output :encoding "UTF-8")
              told (io/writer report :encoding "UTF-8")]
    (xt/sync node)
    (let [counts (atom {:lines 0 :reported 0})
          latest (xt/db node)
          through (or (get-in (xt/db-basis latest) [::xt/tx ::xt/tx-id]) -1)
          run {:node node :options options :output out :report told :counts counts :latest latest :through through}]
      (export-log! run)
      (let [{:keys [lines reported]} @counts]
        (binding [*out* *err*]
          (println (format "transactions exported through %2$d: %1$,d; operations and documents reported: %3$,d"
                           lines through reported))
          (when (pos? reported) (println (str report " names each of them, with the reason."))))
        (when (and (pos? reported) (not skip))
          (.close node)
          (System/exit 1))))))
(shutdown-agents)
