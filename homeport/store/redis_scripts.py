"""What Redis does in one step (Lua), for `redis.py`. Time is the server's, and every key that is written has an end."""

import hashlib

from homeport.store.shared import IDLE_SECONDS, TOLERANCE

#: A replica that was not heard of for so long is dead.
LEASE_SECONDS = 10.0
#: The answer to a session that Redis does not know (or no longer): nothing was done.
UNKNOWN_SESSION = -2


class Script:
    """Asked for by its digest. Loaded by whoever joins; sent whole should Redis have lost it since."""

    def __init__(self, text: str) -> None:
        self.text = _COMMON + text
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


#: KEYS[1]: the sessions, scored by when they were last heard of. Kinds of charges: b (bucket), h (held), m (money).
#: A bucket is two doubles: what is used, and when that was, in microseconds of this server. What is held is a hash:
#: session -> amount; money has a field without a name beside them for what is settled.
_COMMON = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease = {LEASE_SECONDS * 1e6:.0f}
local idle = {IDLE_SECONDS * 1e3:.0f}
local unknown = {UNKNOWN_SESSION}

local function live(session)
  return redis.call('ZSCORE', KEYS[1], session)
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
    local fields = redis.call('HGETALL', KEYS[i])
    for f = 1, #fields, 2 do
      local session, count = fields[f], tonumber(fields[f + 1])
      if session == '' then seeded = true end
      if kind == 'h' and not live(session) then
        redis.call('HDEL', KEYS[i], session)
      else
        used = used + count
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
    if ARGV[at + 3] ~= '0' then hold(KEYS[i], ARGV[1], '-' .. ARGV[at + 3]) end
    if kind == 'm' and redis.call('HEXISTS', KEYS[i], '') == 1 then
      redis.call('HINCRBY', KEYS[i], '', ARGV[at + 4])
    end
  end
end
return 0
""")

#: ARGV: what was spent.
SEED = Script("""
redis.call('HSETNX', KEYS[2], '', ARGV[1])
redis.call('PEXPIRE', KEYS[2], idle)
return 0
""")

#: What is settled goes, and what the dead hold.
FORGET = Script("""
for i = 2, #KEYS do
  for _, session in ipairs(redis.call('HKEYS', KEYS[i])) do
    if not live(session) then redis.call('HDEL', KEYS[i], session) end
  end
end
return 0
""")

#: ARGV: the new session, the number of the former ones, these, the number of keys at which something is held, and how
#: much. After those keys come the ones of money whose settled part nobody is sure of.
JOIN = Script("""
local former = tonumber(ARGV[2])
for i = 3, former + 2 do redis.call('ZREM', KEYS[1], ARGV[i]) end
local held = tonumber(ARGV[former + 3])
for i = 2, #KEYS do
  for f = 3, former + 2 do redis.call('HDEL', KEYS[i], ARGV[f]) end
  if i - 1 <= held then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[former + i + 2])
    redis.call('PEXPIRE', KEYS[i], idle)
  else
    redis.call('HDEL', KEYS[i], '')
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

SCRIPTS = (TAKE, GIVE, SEED, FORGET, JOIN, HOLD, BEAT, LEAVE)
