"""Owns what the server does in one piece: taking the state, letting it go, and changing it.

A script is one transaction in Redis: nothing else runs beside it, and its effects stand in the
append-only file between MULTI and EXEC, so that a file that was cut off inside is read without them.
"""

from __future__ import annotations

TAKE = """
if (redis.call('HGET', KEYS[1], 'token') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'token', ARGV[3], 'holder', ARGV[4], 'server', ARGV[5],
    'client', ARGV[6])
return 1
"""
"""From who held it (ARGV 1, empty for nobody) to us; 0 when that is no longer true."""

RELEASE = """
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'token', 'holder', 'server', 'client')
end
"""

COMMIT = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local puts = tonumber(ARGV[2])
for first = 3, 2 + 2 * puts, 1000 do
    local last = math.min(first + 999, 2 + 2 * puts)
    local index = {}
    for place = first, last, 2 do
        index[#index + 1] = 0
        index[#index + 1] = ARGV[place]
    end
    redis.call('ZADD', KEYS[2], unpack(index))
    redis.call('HSET', KEYS[3], unpack(ARGV, first, last))
end
for first = 3 + 2 * puts, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    redis.call('ZREM', KEYS[2], unpack(ARGV, first, last))
    redis.call('HDEL', KEYS[3], unpack(ARGV, first, last))
end
return 1
"""
"""ARGV: our token, how many pairs, the pairs, keys to delete; 0 when the state is no longer ours."""
