"""What Redis does in one step (Lua), for `redis.py`. Time is the server's, and every key that is written has an end."""

import hashlib

from homeport.store.shared import IDLE_SECONDS, TOLERANCE

#: A replica that was not heard of for so long is dead.
LEASE_SECONDS = 10.0
#: The answer to a session that Redis does not know (or no longer): nothing was done.
UNKNOWN_SESSION = -2
#: The answer to who wants money while replicas may not have said yet what they hold: nothing was done.
NOT_YET = -3


class Script:
    """Asked for by its digest. Loaded by whoever joins; sent whole should Redis have lost it since."""

    def __init__(self, text: str) -> None:
        self.text = _COMMON + text
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


#: KEYS[1]: the sessions, scored by when they were last heard of. Kinds of charges: b (bucket), h (held), m (money).
#: A bucket is two doubles: what is used, and when that was, in microseconds of this server. What is held is a hash:
#: session -> amount. Money has two kinds of fields beside them: one without a name for what is settled and, while that
#: is not there, one for each replica that is about to seed it: `+`, its name -> what was settled meanwhile.
#: A session's name begins with that of its replica and a dot.
_COMMON = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease = {LEASE_SECONDS * 1e6:.0f}
local idle = {IDLE_SECONDS * 1e3:.0f}
local unknown = {UNKNOWN_SESSION}
local not_yet = {NOT_YET}

local killed = KEYS[1] .. ':killed'
local lost = KEYS[1] .. ':lost'

local function live(session)
  return redis.call('ZSCORE', KEYS[1], session)
end

local function counts(kind, session)
  if live(session) then return true end
  return kind == 'm' and redis.call('SISMEMBER', killed, string.match(session, '^[^.]*')) == 0
end

local function unseed(key)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field == '' or string.sub(field, 1, 1) == '+' then redis.call('HDEL', key, field) end
  end
end

local function settle(key, amount)
  if redis.call('HEXISTS', key, '') == 1 then
    redis.call('HINCRBY', key, '', amount)
  else
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, 1) == '+' then redis.call('HINCRBY', key, field, amount) end
    end
  end
end

local function bucket(key, limit, period)
  local kept = redis.call('GET', key)
  if not kept then return 0 end
  local used, at = struct.unpack('<dd', kept)
  return math.max(0, used - math.max(0, now - at) / 1000000 * limit / period)
end

local function keep(key, limit, period, used)
  if used <= 0 or limit <= 0 then
    redis.call('DEL', key)
  else
    local ms = math.ceil(used * period / limit * 1000) + 1000
    redis.call('SET', key, struct.pack('<dd', used, now), 'PX', string.format('%.0f', ms))
  end
end

local function hold(key, session, amount)
  if redis.call('HINCRBY', key, session, amount) <= 0 then redis.call('HDEL', key, session) end
  redis.call('PEXPIRE', key, idle)
end

local function enter(session)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - lease))
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), session)
  redis.call('PEXPIRE', KEYS[1], idle)
  return redis.call('ZCARD', KEYS[1])
end
"""

#: ARGV: session, then of each charge its kind, limit, period and amount. Answers the index of the charge that does not
#: fit or -1, then of each charge what was used; an empty text for money that nobody has seeded.
TAKE = Script(f"""
if not live(ARGV[1]) then return {{unknown}} end
local answer, refused, missing = {{-1}}, -1, false
for i = 2, #KEYS do
  local at = 4 * i - 6
  local kind, limit, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
  local used, seeded = 0, kind ~= 'm'
  if kind == 'b' then
    used = bucket(KEYS[i], limit, tonumber(ARGV[at + 2]))
  else
    if kind == 'm' and redis.call('EXISTS', lost) == 1 then return {{not_yet}} end
    local fields = redis.call('HGETALL', KEYS[i])
    for f = 1, #fields, 2 do
      local session, count = fields[f], tonumber(fields[f + 1])
      if session == '' then
        seeded, used = true, used + count
      elseif string.sub(session, 1, 1) ~= '+' then
        if counts(kind, session) then used = used + count else redis.call('HDEL', KEYS[i], session) end
      end
    end
  end
  if not seeded then missing = true end
  answer[i] = seeded and string.format('%.17g', used) or ''
  if refused < 0 and seeded and amount > 0 and used + amount - limit > {TOLERANCE:.0e} then refused = i - 2 end
end
answer[1] = refused
if refused >= 0 or missing then return answer end
for i = 2, #KEYS do
  local at = 4 * i - 6
  local kind, amount = ARGV[at], tonumber(ARGV[at + 3])
  if amount > 0 then
    if kind == 'b' then
      keep(KEYS[i], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(answer[i]) + amount)
    else
      hold(KEYS[i], ARGV[1], ARGV[at + 3])
    end
  end
end
return answer
""")

#: ARGV: session, then of each charge its kind, limit, period, what was reserved and what it came to.
GIVE = Script("""
if not live(ARGV[1]) then return unknown end
for i = 2, #KEYS do
  local at = 5 * i - 8
  local kind, limit, period = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if kind == 'b' then
    local used = bucket(KEYS[i], limit, period) + tonumber(ARGV[at + 4]) - tonumber(ARGV[at + 3])
    keep(KEYS[i], limit, period, used)
  else
    local reserved = tonumber(ARGV[at + 3])
    if reserved ~= 0 then hold(KEYS[i], ARGV[1], string.format('%.0f', -reserved)) end
    if kind == 'm' then settle(KEYS[i], ARGV[at + 4]) end
  end
end
return 0
""")

#: ARGV: the replica.
EXPECT = Script("""
if redis.call('HEXISTS', KEYS[2], '') == 0 then
  redis.call('HSET', KEYS[2], '+' .. ARGV[1], 0)
  redis.call('PEXPIRE', KEYS[2], idle)
end
return 0
""")

#: ARGV: the replica, what was spent, and whether it has expected to say so: void if Redis has forgotten it.
SEED = Script("""
if redis.call('HEXISTS', KEYS[2], '') == 1 then return 0 end
local late = redis.call('HGET', KEYS[2], '+' .. ARGV[1])
if ARGV[3] == '1' and not late then return 0 end
unseed(KEYS[2])
redis.call('HSET', KEYS[2], '', ARGV[2])
redis.call('HINCRBY', KEYS[2], '', late or 0)
redis.call('PEXPIRE', KEYS[2], idle)
return 0
""")

#: What is settled goes, and whatever the killed hold. ARGV: the names of these replicas.
FORGET = Script("""
for _, name in ipairs(ARGV) do
  redis.call('SADD', killed, name)
  for _, session in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.match(session, '^[^.]*') == name then redis.call('ZREM', KEYS[1], session) end
  end
end
redis.call('PEXPIRE', killed, idle)
for i = 2, #KEYS do unseed(KEYS[i]) end
return 0
""")

#: ARGV: the new session, how many milliseconds the others have to join again should Redis have lost its memory, the
#: number of the former sessions, these, the number of keys at which something is held, and how much. After those keys
#: come the ones of money whose settled part nobody is sure of.
JOIN = Script("""
local grace = tonumber(table.remove(ARGV, 2))
local former = tonumber(ARGV[2])
if former > 0 and grace > 0 and redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', lost, '', 'PX', grace) end
for i = 3, former + 2 do redis.call('ZREM', KEYS[1], ARGV[i]) end
local held = tonumber(ARGV[former + 3])
for i = 2, #KEYS do
  for f = 3, former + 2 do redis.call('HDEL', KEYS[i], ARGV[f]) end
  if i - 1 <= held then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[former + i + 2])
    redis.call('PEXPIRE', KEYS[i], idle)
  else
    unseed(KEYS[i])
  end
end
return enter(ARGV[1])
""")

#: ARGV: session, then what is held at each key beside what was said at the join.
HOLD = Script("""
if not live(ARGV[1]) then return unknown end
for i = 2, #KEYS do hold(KEYS[i], ARGV[1], ARGV[i]) end
return 0
""")

BEAT = Script("""
if not live(ARGV[1]) then return unknown end
return enter(ARGV[1])
""")

LEAVE = Script("return redis.call('ZREM', KEYS[1], ARGV[1])")

SCRIPTS = (TAKE, GIVE, EXPECT, SEED, FORGET, JOIN, HOLD, BEAT, LEAVE)
