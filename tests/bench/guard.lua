-- The same check in Envoy's Lua filter: HMAC-SHA256 over the body in pure Lua, as there is no host call for it.
local bit = require("bit")
local band, bor, bxor, bnot, ror, rshift, tobit = bit.band, bit.bor, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
local byte, char, rep, sub, format = string.byte, string.char, string.rep, string.sub, string.format

local K = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
for i = 1, 64 do K[i] = tobit(K[i]) end

local W = {}
for i = 1, 64 do W[i] = 0 end

local function word(a, b, c, d) return bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d) end

-- All whole blocks of a text.
local function blocks(h, text)
  for at = 1, #text - 63, 64 do
    for i = 0, 15 do
      local a, b, c, d = byte(text, at + 4 * i, at + 4 * i + 3)
      W[i + 1] = word(a, b, c, d)
    end
    for i = 17, 64 do
      local x, y = W[i - 15], W[i - 2]
      local s0 = bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
      local s1 = bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
      W[i] = tobit(W[i - 16] + s0 + W[i - 7] + s1)
    end
    local a, b, c, d, e, f, g, z = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
    for i = 1, 64 do
      local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local t1 = tobit(z + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + W[i])
      local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local t2 = tobit(s0 + bxor(band(a, b), band(a, c), band(b, c)))
      z, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
    end
    h[1], h[2], h[3], h[4] = tobit(h[1] + a), tobit(h[2] + b), tobit(h[3] + c), tobit(h[4] + d)
    h[5], h[6], h[7], h[8] = tobit(h[5] + e), tobit(h[6] + f), tobit(h[7] + g), tobit(h[8] + z)
  end
end

local function start()
  return { tobit(0x6a09e667), tobit(0xbb67ae85), tobit(0x3c6ef372), tobit(0xa54ff53a),
           tobit(0x510e527f), tobit(0x9b05688c), tobit(0x1f83d9ab), tobit(0x5be0cd19) }
end

local function copy(h) return { h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8] } end

local function bytes_of(n) return char(band(rshift(n, 24), 255), band(rshift(n, 16), 255), band(rshift(n, 8), 255), band(n, 255)) end

-- Ends a hash whose first block is done already.
local function finish(h, text)
  local whole = #text - #text % 64
  blocks(h, text)
  local tail = sub(text, whole + 1) .. "\128"
  tail = tail .. rep("\0", (56 - #tail) % 64) .. bytes_of(0) .. bytes_of((#text + 64) * 8)
  blocks(h, tail)
  return h
end

local function padded(key, with)
  local text = {}
  for i = 1, 64 do text[i] = char(bxor(byte(key, i) or 0, with)) end
  return table.concat(text)
end

local SECRET = "@SECRET@"
local inner, outer = start(), start()
blocks(inner, padded(SECRET, 0x36))
blocks(outer, padded(SECRET, 0x5c))

local function hmac(text)
  local h = finish(copy(inner), text)
  local digest = {}
  for i = 1, 8 do digest[i] = bytes_of(h[i]) end
  h = finish(copy(outer), table.concat(digest))
  for i = 1, 8 do digest[i] = bit.tohex(h[i]) end
  return "sha256=" .. table.concat(digest)
end

local function equal(one, other)
  if #one ~= #other then return false end
  local difference = 0
  for i = 1, #one do difference = bor(difference, bxor(byte(one, i), byte(other, i))) end
  return difference == 0
end

function envoy_on_request(handle)
  local claimed = handle:headers():get("x-hub-signature-256")
  if claimed == nil then
    handle:respond({[":status"] = "401"}, "")
    return
  end
  local body = handle:body()
  local text = ""
  if body ~= nil and body:length() > 0 then text = body:getBytes(0, body:length()) end
  if not equal(claimed, hmac(text)) then
    handle:respond({[":status"] = "401"}, "")
  end
end
