"""Verifies sealed books against published heads: python3 verify.py CONNINFO HEADS KEY.
It shares no code with the ledger; docs/ledger.md gives the rule it follows."""
import base64, hashlib, json, subprocess, sys, tempfile

conninfo, heads_file, key_file = sys.argv[1:]
key = base64.b64decode("".join(line for line in open(key_file) if "-----" not in line))[-32:].hex()
wrong = []
both = ", ".join(f"{table} AS (TABLE ledger.{table} UNION ALL TABLE ledger_archive.{table})"
                 for table in ("transactions", "entries", "external_references", "holds"))  # what was archived too
def rows(sql):  # each as JSON
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", conninfo, "-c", f"WITH {both} SELECT to_json(r) FROM ({sql}) r"]
    return list(map(json.loads, subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()))

def signed(head):  # with the key; Ed25519 by openssl
    fields = [str(head[name]) for name in ("books", "epoch", "position", "hash", "sealed_at", "answered")]
    with tempfile.TemporaryDirectory() as folder:
        parts = {"text": "\n".join(["payplane head 2", *fields, ""]).encode(), "sig": bytes.fromhex(head["signature"]),
                 "key": bytes.fromhex("302a300506032b6570032100" + head["key"])}
        for name, content in parts.items():
            open(f"{folder}/{name}", "wb").write(content)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-keyform", "DER", "-inkey", f"{folder}/key",
                   "-in", f"{folder}/text", "-sigfile", f"{folder}/sig"]
        return head["key"] == key and subprocess.run(command, capture_output=True).returncode == 0

micros = "(extract(epoch FROM {0}) * 1000000)::bigint AS {0}".format
# What was asked for, of each transaction.
asked = {}
for entry in rows("SELECT e.transaction_id, e.line, e.side, a.code, e.amount_minor, a.currency FROM (SELECT transaction_id, line, account_id, side, amount_minor FROM entries UNION ALL "
                  "SELECT hold_id, 1, account_id, CASE normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END::ledger.side, amount_minor "
                  "FROM holds JOIN ledger.accounts USING (account_id)) e LEFT JOIN ledger.accounts a USING (account_id) ORDER BY 1, 2"):
    line = " ".join(str(entry[name]) for name in ("side", "code", "amount_minor", "currency"))
    asked.setdefault(entry["transaction_id"], []).append(line)
for reference in rows('SELECT * FROM external_references ORDER BY transaction_id, type, value'):
    asked.setdefault(reference["transaction_id"], []).append(reference["type"] + "=" + reference["value"])
records = {}  # by batch number
def record(batch, kind, *fields):
    records.setdefault(batch, []).append(json.dumps([kind, *fields], ensure_ascii=False))

known = {t["transaction_id"]: t for t in rows(
    f"SELECT transaction_id, caller, key_date, key, kind, entry_count, {micros('effective_time')}, accounting_date, "
    f"settlement_date, config_epoch, original_id, encode(request_hash, 'hex') AS request_hash, {micros('posted_at')}, t.batch_number, "
    f"due_date || ' ' || calendar_version AS due, CASE WHEN day_demanded THEN accounting_date END AS demanded, {micros('expires_at')} "
    f"FROM transactions t LEFT JOIN holds ON hold_id = transaction_id")}
for t in known.values():
    record(t["batch_number"], "transaction", *list(t.values())[:-4])
    text = ["2", t["kind"], *asked.pop(t["transaction_id"], []), f"effective {t['effective_time']}"]
    text += [f"{word} {t[name]}" for word, name in (
        ("settlement", "settlement_date"), ("due", "due"), ("accounting", "demanded"), ("expires", "expires_at")) if t[name] is not None]
    original = known.get(t["original_id"], {"key_date": "", "key": ""})
    text += [f"original {original['key_date']} {original['key']}"] if t["original_id"] else []
    if hashlib.sha256(("\n".join(text) + "\n").encode()).hexdigest() != t["request_hash"]:
        wrong.append(f"transaction {t['transaction_id']} is not what was asked for")
wrong += [f"entries without transaction {transaction}" for transaction in asked]
decided, left = {t["transaction_id"]: t["key_date"] for t in known.values()}, [""]
for kind, table, columns in (
        ("account", "accounts", f"account_id, code, currency, normal_side, floor_minor, metadata, {micros('opened_at')}"),
        ("day", "day_closings", f"day, state, {micros('decided_at')}"),
        ("settlement", "settlements", f"transaction_id, settlement_date, caller, {micros('told_at')}"),
        ("state", "account_states", f"account_id, state, caller, {micros('decided_at')}"),
        ("config", "config_epochs", f"config_epoch, {micros('raised_at')}"),
        ("departure", "departures", f"what, upto, {micros('decided_at')}"),
        ("refusal", "refusals", f"refusal_id, caller, key_date, key, reason, subject, message, config_epoch, "
                                f"encode(request_hash, 'hex') AS request_hash, {micros('refused_at')}")):
    for r in rows(f"SELECT {columns}, batch_number FROM ledger.{table}"):
        record(r.pop("batch_number"), kind, *r.values())
        decided.update({r["refusal_id"]: r["key_date"]} if kind == "refusal" else {})
        left += [r["upto"]] if r.get("what") == "identities" else []
# Identities of key dates that are not taken any more have left.
identities = {i["decision"] for i in rows("SELECT decision FROM ledger.identities")}
wrong += [f"identity or decision {one} stands alone" for one in identities ^ decided.keys() if decided.get(one, "9") >= max(left)]
batches = {b["batch_number"]: b for b in rows(f"SELECT batch_number, booked, {micros('answered_at')} FROM ledger.batches")}
wrong += [f"records of batch {number}, which is not there" for number in records.keys() - batches.keys()]
for number, b in batches.items():
    booked = sum(line.startswith('["transaction"') for line in records.get(number, []))
    if booked != b["booked"]:
        wrong.append(f"batch {number} counts {b['booked']} and holds {booked}")
chain, hashes, epochs = {c["position"]: c["hash"][2:] for c in rows("SELECT * FROM ledger.chain")}, {}, {}
before = bytes(32)
for p in rows("SELECT position, epoch, batch_number FROM ledger.positions WHERE position <= (SELECT max(position) FROM ledger.chain) ORDER BY position"):
    b = batches.get(p["batch_number"], {"booked": None, "answered_at": None})
    record(p["batch_number"], "batch", p["position"], p["epoch"], p["batch_number"], b["booked"], b["answered_at"])
    content = hashlib.sha256("\n".join(sorted(records[p["batch_number"]])).encode()).digest()
    before = hashlib.sha256(before + content).digest()
    hashes[p["position"]], epochs[p["position"]] = before.hex(), p["epoch"]
broken = [position for position in sorted(chain) if hashes.get(position) != chain[position]]
wrong += [f"the chain breaks at position {broken[0]}"] if broken else []
books, published = rows("SELECT books_id FROM payplane.control")[0]["books_id"], {}
for head in map(json.loads, open(heads_file)):
    assert head["books"] == books and signed(head), f"not a head of these books: {head}"
    if published.setdefault((head["position"], head["epoch"]), head["hash"]) != head["hash"]:
        wrong.append(f"two heads at position {head['position']}")
different = [position for position, epoch in sorted(published) if epochs.get(position, epoch) <= epoch
             and position in chain and chain[position] != published[position, epoch]]
wrong += [f"the head at position {different[0]} differs"] if different else []
for epoch in sorted({epoch for _, epoch in published}):
    first = min((position for position in epochs if epochs[position] > epoch), default=max(chain, default=0) + 1)
    last = max(position for position, of in published if of == epoch)
    wrong += [f"positions {first} to {last} of epoch {epoch} are lost"] if last >= first else []
print("\n".join(wrong))
sys.exit(bool(wrong))
