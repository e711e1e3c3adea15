// The OAuth 2.0 server of a homeserver: oidc-provider, and around it what Synapse expects of the service it delegates
// logins to (introspection under a shared secret, devices made known when tokens are given out).
//
// node server.mjs '{"port", "homeserver", "secret", "access_token_s"}'
import { createServer } from "node:http";
import Provider from "oidc-provider";

const options = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${options.port}`;
const resource = "urn:matrix:api";
const devicePrefix = /^urn:matrix:(?:org\.matrix\.msc2967\.)?client:device:(.+)$/u;
const scopes = new Set(); // resources of this server are whatever device asks
let lose = 0; // how many answers of the token endpoint are lost on their way

const provider = new Provider(issuer, {
  clientAuthMethods: ["none"],
  discovery: { account_management_uri: `${issuer}/account` },
  features: {
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: false },
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx) => {
        for (const scope of (ctx.oidc.params?.scope ?? "").split(" ")) scopes.add(scope);
        return {
          scope: [...scopes].join(" "),
          accessTokenFormat: "opaque",
          accessTokenTTL: options.access_token_s,
        };
      },
    },
  },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
  expiresWithSession: () => false,
  rotateRefreshToken: true,
  ttl: { DeviceCode: 600, Grant: 86400, Interaction: 600, RefreshToken: 86400, Session: 86400 },
  routes: { token: "/oauth2/token", registration: "/oauth2/registration", revocation: "/oauth2/revoke" },
});

async function homeserver(path, body) {
  const answer = await fetch(`${options.homeserver}/_synapse/mas/${path}`, {
    method: "POST",
    headers: { "Authorization": `Bearer ${options.secret}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

function deviceOf(scope) {
  return (scope ?? "").split(" ").map((word) => devicePrefix.exec(word)?.[1]).find((device) => device !== undefined);
}

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === "/device/auth" && ctx.status === 200) ctx.body.interval = 1;
  if (ctx.path !== "/oauth2/token" || ctx.status !== 200) return;
  const token = ctx.oidc.entities.AccessToken;
  if (ctx.oidc.params.grant_type.endsWith("device_code") && options.homeserver) {
    const device = { localpart: token.accountId, device_id: deviceOf(token.scope), display_name: "Lockgate" };
    await homeserver("upsert_device", device);
  }
  if (lose > 0) {
    lose -= 1;
    ctx.res.socket.destroy();
  }
});

async function introspected(token) {
  const found = await provider.AccessToken.find(token);
  if (found === undefined || !found.isValid) return { active: false };
  return { active: true, scope: found.scope, username: found.accountId, sub: found.accountId, expires_in: found.remainingTTL };
}

async function ended({ token, device }) {
  // The user ends the session on the pages of their account.
  const found = await provider.AccessToken.find(token);
  const grant = await provider.Grant.find(found.grantId);
  if (device) await homeserver("delete_device", { localpart: found.accountId, device_id: deviceOf(found.scope) });
  await grant.destroy();
  return {};
}

const ours = {
  "/oauth2/introspect": (form) => introspected(form.get("token")),
  "/rig/lose": async (form) => ({ lose: (lose = Number(form.get("count"))) }),
  "/rig/end": (form) => ended({ token: form.get("token"), device: form.get("device") === "yes" }),
};

const pages = provider.callback();
createServer(async (request, response) => {
  const handler = ours[request.url];
  if (handler === undefined) return pages(request, response);
  try {
    if (request.headers.authorization !== `Bearer ${options.secret}`) throw new Error("not our homeserver");
    let body = "";
    for await (const part of request) body += part;
    response.setHeader("Content-Type", "application/json");
    return response.end(JSON.stringify(await handler(new URLSearchParams(body))));
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end("{}");
  }
}).listen(options.port, "127.0.0.1", () => console.log("listening"));
