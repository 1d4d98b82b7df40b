-- Times are Unix nanoseconds in UTC; 0 is "no such instant".
-- Every table carries the tenant it belongs to.

-- +goose Up
CREATE TABLE case_state (
  id          TEXT    NOT NULL PRIMARY KEY,
  tenant      TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  head        BLOB    NOT NULL, -- hash of the newest event of the stream
  state       BLOB    NOT NULL, -- the case as JSON
  open        INTEGER NOT NULL,
  quiet       INTEGER NOT NULL,
  word        TEXT    NOT NULL, -- the state in one word, for lists
  title       TEXT    NOT NULL,
  class       TEXT    NOT NULL,
  domain      TEXT    NOT NULL,
  path        TEXT    NOT NULL,
  risk        INTEGER NOT NULL,
  severity    INTEGER NOT NULL,
  owner       TEXT    NOT NULL,
  asset       TEXT    NOT NULL,
  environment TEXT    NOT NULL,
  waits_for   TEXT    NOT NULL,
  waits_who   TEXT    NOT NULL,
  waits_since INTEGER NOT NULL,
  next_due    INTEGER NOT NULL,
  fix_due     INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  opened_at   INTEGER NOT NULL,
  closed_at   INTEGER NOT NULL,
  how         TEXT    NOT NULL,
  updated_at  INTEGER NOT NULL,
  wake_at     INTEGER NOT NULL,
  urgency     INTEGER NOT NULL  -- the order of lists, least first
) STRICT;
CREATE INDEX case_wake    ON case_state (wake_at, id) WHERE wake_at > 0;
CREATE INDEX case_urgency ON case_state (tenant, urgency, id);
CREATE INDEX case_word    ON case_state (tenant, word, urgency, id);
CREATE INDEX case_owner   ON case_state (tenant, owner, urgency, id);
CREATE INDEX case_class   ON case_state (tenant, class, urgency, id);

-- How many cases are in which state; kept in the transaction of the case.
CREATE TABLE case_count (
  tenant TEXT    NOT NULL,
  word   TEXT    NOT NULL,
  n      INTEGER NOT NULL,
  PRIMARY KEY (tenant, word)
) STRICT, WITHOUT ROWID;

-- pos is the order of commits, from 1 without gaps; the event's index in the
-- ledger's tree is pos - 1, once the tree has grown beyond it.
CREATE TABLE event (
  pos    INTEGER PRIMARY KEY,
  tenant TEXT    NOT NULL,
  stream TEXT    NOT NULL,
  seq    INTEGER NOT NULL,
  type   TEXT    NOT NULL,
  schema INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  by     TEXT    NOT NULL,
  body   BLOB    NOT NULL,
  prev   BLOB    NOT NULL,
  hash   BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_stream ON event (tenant, stream, seq);
-- +goose StatementBegin
CREATE TRIGGER event_keep BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER event_fixed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- +goose StatementEnd

CREATE TABLE case_key (
  tenant      TEXT    NOT NULL,
  key_version INTEGER NOT NULL,
  key         TEXT    NOT NULL,
  case_id     TEXT    NOT NULL,
  open        INTEGER NOT NULL,
  PRIMARY KEY (tenant, key_version, key, case_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX case_key_open ON case_key (tenant, key_version, key) WHERE open = 1;
CREATE INDEX case_key_case ON case_key (case_id);

CREATE TABLE finding (
  tenant     TEXT    NOT NULL,
  uid        TEXT    NOT NULL,
  case_id    TEXT    NOT NULL,
  digest     TEXT    NOT NULL,
  body       BLOB    NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL,
  sightings  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX finding_uid ON finding (tenant, uid);
CREATE INDEX finding_case ON finding (case_id, tenant, uid);

-- next_at is when the effect may be claimed (again): its start, the end of the
-- lease in force, or the retry. dropped rows are no longer called for; they
-- stay until their lease ends, so that nothing else of the case starts.
CREATE TABLE effect (
  id          TEXT    NOT NULL PRIMARY KEY,
  tenant      TEXT    NOT NULL,
  case_id     TEXT    NOT NULL,
  effect_id   TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  action      TEXT    NOT NULL,
  n           INTEGER NOT NULL,
  object      TEXT    NOT NULL,
  not_before  INTEGER NOT NULL,
  next_at     INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  dropped     INTEGER NOT NULL,
  last_error  TEXT    NOT NULL
) STRICT;
CREATE INDEX effect_next   ON effect (next_at, id);
CREATE INDEX effect_case   ON effect (case_id, lease_until);
CREATE INDEX effect_object ON effect (object, lease_until) WHERE object <> '';

CREATE TABLE counter (
  tenant TEXT    NOT NULL,
  name   TEXT    NOT NULL,
  n      INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE budget (
  tenant TEXT    NOT NULL,
  key    TEXT    NOT NULL,
  at     INTEGER NOT NULL,
  n      INTEGER NOT NULL
) STRICT;
CREATE INDEX budget_key ON budget (key, at);

-- tenant '' pauses the scope for all tenants.
CREATE TABLE pause (
  tenant TEXT    NOT NULL,
  scope  TEXT    NOT NULL,
  by     TEXT    NOT NULL,
  at     INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  PRIMARY KEY (tenant, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE fact (
  tenant TEXT NOT NULL,
  hash   TEXT NOT NULL,
  body   BLOB NOT NULL,
  PRIMARY KEY (tenant, hash)
) STRICT;

-- Free text of people; erasing a row leaves the hash chain whole.
CREATE TABLE note (
  tenant TEXT NOT NULL,
  hash   TEXT NOT NULL,
  salt   TEXT NOT NULL,
  text   TEXT NOT NULL,
  PRIMARY KEY (tenant, hash)
) STRICT;

-- quarantined rows wait for a person; next_at is still when they are shown or
-- tried again by themselves.
CREATE TABLE inbox (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant      TEXT    NOT NULL,
  source      TEXT    NOT NULL,
  received_at INTEGER NOT NULL,
  headers     TEXT    NOT NULL,
  body        BLOB    NOT NULL,
  quarantined INTEGER NOT NULL,
  owner       TEXT    NOT NULL,
  error       TEXT    NOT NULL,
  attempts    INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  next_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_next ON inbox (quarantined, next_at, id);
CREATE INDEX inbox_quarantine ON inbox (tenant, quarantined, id);

CREATE TABLE tree_node (
  tenant TEXT    NOT NULL,
  idx    INTEGER NOT NULL,
  hash   BLOB    NOT NULL,
  PRIMARY KEY (tenant, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
  id      INTEGER PRIMARY KEY,
  tenant  TEXT    NOT NULL,
  origin  TEXT    NOT NULL,
  size    INTEGER NOT NULL,
  root    BLOB    NOT NULL,
  at      INTEGER NOT NULL,
  follows BLOB    NOT NULL,
  note    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX checkpoint_size ON checkpoint (origin, size);

CREATE TABLE user (
  id            TEXT    NOT NULL PRIMARY KEY,
  tenant        TEXT    NOT NULL,
  name          TEXT    NOT NULL,
  mail          TEXT    NOT NULL,
  roles         TEXT    NOT NULL, -- JSON array
  password_hash TEXT    NOT NULL,
  disabled      INTEGER NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX user_name ON user (tenant, name);

CREATE TABLE token (
  hash       TEXT    NOT NULL PRIMARY KEY,
  tenant     TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  user_id    TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  roles      TEXT    NOT NULL, -- JSON array
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX token_id ON token (id);

CREATE TABLE session (
  token  TEXT    NOT NULL PRIMARY KEY,
  tenant TEXT    NOT NULL,
  data   BLOB    NOT NULL,
  expiry INTEGER NOT NULL
) STRICT;
CREATE INDEX session_expiry ON session (expiry);

CREATE TABLE ticket (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant     TEXT    NOT NULL,
  once_key   TEXT    NOT NULL,
  project    TEXT    NOT NULL,
  case_id    TEXT    NOT NULL,
  title      TEXT    NOT NULL,
  body       TEXT    NOT NULL,
  fields     TEXT    NOT NULL, -- JSON object
  status     TEXT    NOT NULL,
  assignee   TEXT    NOT NULL,
  rev        INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX ticket_once ON ticket (tenant, once_key) WHERE once_key <> '';
CREATE INDEX ticket_list ON ticket (tenant, status, id);
CREATE INDEX ticket_case ON ticket (case_id);

CREATE TABLE ticket_comment (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant    TEXT    NOT NULL,
  ticket_id INTEGER NOT NULL,
  once_key  TEXT    NOT NULL,
  by        TEXT    NOT NULL,
  at        INTEGER NOT NULL,
  text      TEXT    NOT NULL
) STRICT;
CREATE INDEX ticket_comment_ticket ON ticket_comment (ticket_id, id);
CREATE UNIQUE INDEX ticket_comment_once ON ticket_comment (ticket_id, once_key) WHERE once_key <> '';

CREATE TABLE setting (
  tenant TEXT NOT NULL,
  key    TEXT NOT NULL,
  value  BLOB NOT NULL,
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

-- Standing exceptions, read by the gate.
CREATE TABLE exception (
  id          TEXT    NOT NULL PRIMARY KEY,
  tenant      TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  class       TEXT    NOT NULL,
  package     TEXT    NOT NULL,
  project     TEXT    NOT NULL,
  weakness    TEXT    NOT NULL,
  from_at     INTEGER NOT NULL,
  until_at    INTEGER NOT NULL,
  asked_by    TEXT    NOT NULL,
  approved_by TEXT    NOT NULL,
  reason      TEXT    NOT NULL, -- hash of a note
  revoked_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX exception_list ON exception (tenant, until_at, id);

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
