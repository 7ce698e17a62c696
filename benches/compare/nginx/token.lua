-- A token endpoint in nginx: LuaJIT with lua-cjson and OpenSSL's HMAC.
local cjson = require "cjson"
local hmac = require "openssl.hmac"

local CLIENT_ID = os.getenv("CLIENT_ID")
local CLIENT_SECRET = os.getenv("CLIENT_SECRET")
local EXPECTED = ngx.sha1_bin("Bearer " .. os.getenv("API_KEY"))
local LIFETIME = 3600

local function base64url(bytes)
  return (ngx.encode_base64(bytes, true):gsub("[+/]", { ["+"] = "-", ["/"] = "_" }))
end

local HEADER = base64url('{"alg":"HS256","typ":"JWT"}')

local function refuse(status, code)
  ngx.status = status
  ngx.header.content_type = "application/json"
  ngx.say('{"error":"' .. code .. '"}')
  return ngx.exit(status)
end

return function()
  -- Digests are compared, so that the time taken says nothing about the key.
  if ngx.sha1_bin(ngx.var.http_authorization or "") ~= EXPECTED then
    return refuse(401, "invalid_client")
  end
  ngx.req.read_body()
  local read, asked = pcall(cjson.decode, ngx.req.get_body_data() or "")
  if not read or type(asked) ~= "table" or type(asked.userId) ~= "string" then
    return refuse(400, "invalid_request")
  end
  local now = ngx.time()
  local claims = cjson.encode {
    tenantId = CLIENT_ID,
    userId = asked.userId,
    userEmail = asked.userEmail,
    userRoles = asked.userRoles,
    plan = asked.plan,
    iat = now,
    exp = now + LIFETIME,
  }
  local signed = HEADER .. "." .. base64url(claims)
  local signature = base64url(hmac.new(CLIENT_SECRET, "sha256"):final(signed))
  local answer = cjson.encode {
    token = signed .. "." .. signature,
    tokenType = "Bearer",
    expiresIn = LIFETIME,
    expiresAt = now + LIFETIME,
    refreshAfter = LIFETIME * 0.9,
  }
  ngx.header.content_type = "application/json"
  ngx.header.content_length = #answer
  ngx.print(answer)
end
