;; Writes transactions to an XTDB node, and then XTDB's own answers: clojure.main seed.clj CONFIG SEED TRANSACTIONS ANSWERS
;; It shares no code with the exporter: the JSON of each value is written here, next to the value.
(require '[xtdb.api :as xt] '[clojure.data.json :as json] '[clojure.java.io :as io])
(import '(java.time Duration Instant LocalDate) '(java.util Date Random UUID))

(let [[config seed transactions answers] *command-line-args*]
  (def node (xt/start-node (io/file config)))
  (def random (Random. (Long/parseLong seed)))
  (def transactions (Long/parseLong transactions))
  (def answers answers))

(defn below [limit] (.nextInt ^Random random (int limit)))
(defn one-of [values] (nth values (below (count values))))

(def ids
  (concat (map #(keyword "k" (str "id" %)) (range 40))
          (map #(str "text/é " %) (range 40))
          (map long (range 8))
          (map #(UUID. 7 %) (range 30))
          (map #(java.net.URI. (str "http://a/" %)) (range 4))
          ;; These have the text of other ids.
          ["0" "1" ":k/id0"]
          ;; These have no key.
          ["" (apply str (repeat 1025 "a")) {:a 1 :b 2}]))

(def functions [:change :refuse])

(defn nested [depth] (nth (iterate vector 1) depth))

(def values-with-json
  "Values, each with the JSON that docs/moving-from-xtdb.md promises, or nil if it is reported."
  [[:a/b "\"a/b\""] [:a "\"a\""] ['a/b "\"a/b\""] [nil "null"] [true "true"] ["é \"\\\n" "\"é \\\"\\\\\\n\""]
   [(Date. 1000000000001) "\"2001-09-09T01:46:40.001Z\""] [(Instant/ofEpochSecond 1 5) "\"1970-01-01T00:00:01.000000005Z\""]
   [(LocalDate/of 2020 1 2) "\"2020-01-02\""] [(Duration/ofMinutes 90) "\"PT1H30M\""]
   [(UUID. 1 2) "\"00000000-0000-0001-0000-000000000002\""] [(java.net.URI. "http://a/?b=c") "\"http://a/?b=c\""]
   [\x "\"x\""] [#{:b "a" 10 9} "[\"a\",\"b\",10,9]"] [[1 [2 {:c #{}}]] "[1,[2,{\"c\":[]}]]"] ['(1 2) "[1,2]"]
   [1/3 "\"1/3\""] [1.50M "\"1.50\""] [9007199254740991 "9007199254740991"] [9007199254740992 "\"9007199254740992\""]
   [-9007199254740992 "\"-9007199254740992\""] [123456789012345678901N "\"123456789012345678901\""] [7N "7"]
   [1.5 "1.5"] [2.0 "2"] [-0.25 "-0.25"] [1e300 "\"1.0E300\""] [Double/MIN_VALUE "5e-324"] [(Math/pow 2 -44) "5.684341886080802e-14"] [0.1 "0.1"] [-0.0 "0"] [(byte-array [1 2 -1]) "\"AQL/\""]
   [{:a/b 1 "c" 2 'd 3 4 5 (UUID. 0 1) 6} "{\"a/b\":1,\"c\":2,\"d\":3,\"4\":5,\"00000000-0000-0000-0000-000000000001\":6}"]
   ["😀/\u0000" "\"😀/\\u0000\""] [{"" 1 "__proto__" {} "é😀" 2} "{\"\":1,\"__proto__\":{},\"é😀\":2}"]
   [(nested 499) (str (apply str (repeat 499 "[")) 1 (apply str (repeat 499 "]")))] [(nested 500) nil]
   [##Inf nil] [##NaN nil] [#"pattern" nil] [{:a 1 "a" 2} nil] [{1.5 1} nil] [{[1] 2} nil]])

(def fit (filterv second values-with-json))
(def unfit (filterv (complement second) values-with-json))

(def documents "The JSON of every document, or nil, by the number in it." (atom []))

(defn id-json [id] (json/write-str (if (keyword? id) (subs (str id) 1) (if (integer? id) id (str id))) :escape-unicode false :escape-slash false))

(defn document
  "Returns a new document for an id, and keeps its JSON."
  [id]
  (let [n (count @documents)
        [value text] (one-of (if (zero? (below 12)) unfit fit))
        filler (apply str (repeat (below 2000) "x"))]
    (swap! documents conj (when text (format "{\"xt/id\":%s,\"n\":%d,\"value\":%s,\"filler\":\"%s\"}" (id-json id) n text filler)))
    {:xt/id id :n n :value value :filler filler}))

(def expected-reports "The operations with valid times that were submitted." (atom []))

(defn times
  "Returns the start, and perhaps the end, of a valid time near now."
  []
  (let [now (System/currentTimeMillis)
        at #(Date. (long %))
        start (case (below 3) 0 (- now 1 (below 100000)) 1 (- now 1 (below 300)) 2 (+ now 5 (below 1500)))]
    (if (zero? (below 2)) [(at start)] [(at start) (at (+ start 1 (below 2000)))])))

(defn operation [id]
  (case (below 16)
    (0 1 2 3 4 5 6) [::xt/put (document id)]
    (7 8 9 10) (into [::xt/put (document id)] (times))
    (11 12) [::xt/delete id]
    13 (into [::xt/delete id] (times))
    14 (if (zero? (below 8)) [::xt/evict id] [::xt/delete id])
    15 [::xt/fn :change (document id) (one-of ids)]))

(defn transaction []
  (let [[a b c] (distinct (repeatedly 6 #(one-of ids)))]
    (case (below 20)
      0 []
      1 [[::xt/match a nil] (operation a)]
      2 [[::xt/match a (xt/entity (xt/db node) a)] (operation a) (operation b)]
      3 [[::xt/fn :refuse] (operation a)]
      4 [[::xt/put (document a)] [::xt/put (document a)] (operation b)]
      5 [(operation a) (operation b) (operation c)]
      [(operation a)])))

(xt/await-tx node
             (xt/submit-tx node [[::xt/put {:xt/id :change
                                            :xt/fn '(fn [_ document id] [[:xtdb.api/put document] [:xtdb.api/delete id]])}]
                                 [::xt/put {:xt/id :refuse :xt/fn '(fn [_] false)}]]))

(def evicted "The last eviction of each id." (atom {}))

(defn text [id] (if (string? id) id (str id)))

(dotimes [_ transactions]
  (let [ops (transaction)
        {::xt/keys [tx-id tx-time] :as tx} (xt/submit-tx node ops)]
    (xt/await-tx node tx)
    (when (xt/tx-committed? node tx)
      (doseq [[kind value start end] ops]
        (when (= kind ::xt/evict) (swap! evicted assoc value tx-id))
        (when (and (#{::xt/put ::xt/delete} kind) (inst? start) (or end (not= start tx-time)))
          (swap! expected-reports conj
                 {:tx tx-id :op kind :id (if (= kind ::xt/put) (:xt/id value) value)
                  :reason (if (.after ^Date start tx-time) "future" "past")}))))))

(def latest (xt/await-tx node (xt/submit-tx node [])))

(defn answer! [^java.io.Writer out & fields] (.write out (str (json/write-str fields :escape-unicode false :escape-slash false) "\n")))

(with-open [out (io/writer answers :encoding "UTF-8")]
  (doseq [[n document] (map-indexed vector @documents)] (answer! out "document" n document))
  (let [txs (with-open [log (xt/open-tx-log node nil false)] (mapv #(select-keys % [::xt/tx-id ::xt/tx-time]) (iterator-seq log)))]
    (doseq [{::xt/keys [tx-id tx-time]} txs] (answer! out "tx" tx-id (.getTime ^Date tx-time)))
    (doseq [{::xt/keys [tx-id tx-time] :as tx} (conj (vec (repeatedly 100 #(one-of txs))) latest)
            :let [db (xt/db node {::xt/valid-time tx-time ::xt/tx tx})]]
      (answer! out "entities" tx-id (into {} (for [[index id] (map-indexed vector ids) :let [found (xt/entity db id)] :when found] [index (:n found)])))))
  (let [db (xt/db node)]
    (doseq [[index id] (map-indexed vector (concat ids functions))]
      (answer! out "history" index (text id) (cond (string? id) "string" (map? id) "map" :else "other")
               (for [{::xt/keys [valid-time tx-id doc]} (xt/entity-history db id :asc {:with-docs? true :with-corrections? true})]
                 [(.getTime ^Date valid-time) tx-id (when doc (:n doc -1))]))))
  (doseq [{:keys [tx op id reason]} @expected-reports
          ;; An eviction removes the documents before it.
          :when (not (and (= op ::xt/put) (<= tx (get @evicted id -1))))]
    (answer! out "reported" tx (name op) reason (if (= op ::xt/put) (text id) "")))
  (doseq [[id tx] @evicted] (answer! out "evicted" tx (str (xtdb.codec/new-id id)))))
(.close node)
(shutdown-agents)
