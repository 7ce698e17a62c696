-- Asks several limits about one request, in order, and stops at the first that refuses.
--
-- KEYS: one counter per limit. ARGV, three per limit: the period in whole microseconds, the burst,
-- and 1 to count the request or 0 to look only.
-- A counter is GCRA's theoretical arrival time, in microseconds by this server's clock alone, and
-- lives until it is as good as none. Whole microseconds stay exact in a double until the year 2255.
--
-- Gives {0, 0} when all admit, else {which limit refuses, microseconds to wait}. The limits before
-- it have counted the request, as they do in memory.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
for i, key in ipairs(KEYS) do
  local period = tonumber(ARGV[3 * i - 2])
  local full = period * tonumber(ARGV[3 * i - 1])
  local arrival = tonumber(redis.call('GET', key) or now) or now
  -- The upper end matters when the clock has jumped back, or another server has taken over.
  arrival = math.max(now, math.min(arrival, now + full))
  local wait = arrival + period - full - now
  if wait > 0 then
    return {i, wait}
  end
  if ARGV[3 * i] == '1' then
    arrival = arrival + period
    local milliseconds = math.ceil((arrival - now) / 1000)
    redis.call('SET', key, string.format('%.0f', arrival), 'PX', string.format('%.0f', milliseconds))
  end
end
return {0, 0}
