// A Matrix client for tests and the demo: matrix-js-sdk with its Rust crypto, spoken to in lines of JSON.
//
// stdin:  {"id": 1, "cmd": "send", "room": "!r:s", "body": "text"}
// stdout: {"reply": 1, "ok": true, "result": {...}} or {"reply": 1, "ok": false, "error": "..."}
//         {"event": "message" | "undecryptable" | "invited" | "joined" | "plain" | "error" |
//          "verification_request" | "verification" | "sas" | "verified" | "verification_failed", ...}
// Commands are carried out one after the other. The process ends when stdin does.
import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
for (const level of ["log", "info", "debug", "warn", "trace"]) {
    console[level] = (...words) => console.error(...words);
}
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
const { ClientEvent, RoomEvent, MatrixEventEvent, EventType, MsgType } = sdk;
const { OnlySignedDevicesIsolationMode, AllDevicesIsolationMode, decodeRecoveryKey, CryptoEvent, VerificationRequestEvent, VerifierEvent } =
    await import("matrix-js-sdk/lib/crypto-api/index.js");
logger.setLevel?.(process.env.BOB_LOG ?? "warn");

let client = null;
let password = null;
let storageKey = null; // opens the secret storage, once it is known
let verification = null; // the one under way
const lanes = new Map(); // room -> promise chain that keeps the order of the timeline
const SHIELDS = ["none", "grey", "red"];

const unpadded = (octets) => Buffer.from(octets).toString("base64").replace(/=+$/, "");

async function shieldOf(event) {
    const found = await client.getCrypto().getEncryptionInfoForEvent(event);
    return found === null ? null : { colour: SHIELDS[found.shieldColour], reason: found.shieldReason };
}

function described(event) {
    const content = event.getContent();
    return {
        room: event.getRoomId(),
        event_id: event.getId(),
        sender: event.getSender(),
        type: event.getType(),
        msgtype: content.msgtype ?? null,
        body: content.body ?? null,
        content,
        encrypted: event.isEncrypted(),
        relation: event.getRelation() ?? null,
        reply_to: event.replyEventId ?? null,
        ts: event.getTs(),
    };
}

async function tellMessage(event, late) {
    tell({ event: "message", late, shield: event.isEncrypted() ? await shieldOf(event) : null, ...described(event) });
}

// Told in the order of the timeline: each event waits for the decryption of the one before.
async function handle(event) {
    if (event.isEncrypted()) {
        if (event.isBeingDecrypted()) await event.getDecryptionPromise();
        else if (event.shouldAttemptDecryption()) await event.attemptDecryption(client.getCrypto());
    }
    if (event.isDecryptionFailure()) {
        tell({ event: "undecryptable", reason: event.decryptionFailureReason, ...described(event), body: null, content: null });
        const repaired = () => {
            if (event.isDecryptionFailure() || event.isBeingDecrypted()) return;
            event.off(MatrixEventEvent.Decrypted, repaired);
            tellMessage(event, true).catch((error) => tell({ event: "error", error: String(error) }));
        };
        event.on(MatrixEventEvent.Decrypted, repaired);
        return;
    }
    if (event.getContent().msgtype === MsgType.KeyVerificationRequest) return; // told as a request
    if (event.getType() === EventType.RoomMessage) await tellMessage(event, false);
}

function onReceipt(event, room) {
    for (const [id, kinds] of Object.entries(event.getContent()))
        for (const user of Object.keys(kinds["m.read"] ?? {})) tell({ event: "receipt", room: room.roomId, event_id: id, user });
}

function onTimeline(event, room, toStart, removed, data) {
    if (toStart || removed || !data.liveEvent || event.getSender() === client.getUserId()) return;
    if (event.getType() === EventType.Reaction) return tell({ event: "reaction", ...described(event) });
    if (![EventType.RoomMessage, EventType.RoomMessageEncrypted].includes(event.getType())) return;
    const before = lanes.get(room.roomId) ?? Promise.resolve();
    lanes.set(room.roomId, before.then(() => handle(event)).catch((error) => tell({ event: "error", error: String(error) })));
}

async function onMembership(room, membership) {
    if (membership === "join") return tell({ event: "joined", room: room.roomId });
    if (membership !== "invite") return;
    const own = room.currentState.getStateEvents(EventType.RoomMember, client.getUserId());
    const inviter = own?.getSender() ?? null;
    tell({ event: "invited", room: room.roomId, inviter });
    await client.joinRoom(room.roomId);
    if (own?.getContent().is_direct) await rememberDirect(inviter, room.roomId);
}

async function rememberDirect(user, room) {
    const known = client.getAccountData(EventType.Direct)?.getContent() ?? {};
    const rooms = new Set([...(known[user] ?? []), room]);
    await client.setAccountData(EventType.Direct, { ...known, [user]: [...rooms] });
}

function follow(request) {
    const kept = { request, verifier: null, sas: null };
    verification = kept;
    const look = () => {
        tell({ event: "verification", phase: request.phase, code: request.cancellationCode, room: request.roomId ?? null });
        if (kept.verifier === null && request.verifier) run(kept, request.verifier);
    };
    request.on(VerificationRequestEvent.Change, look);
    look();
    return {};
}

// Goes on by itself up to the comparison.
function run(kept, verifier) {
    kept.verifier = verifier;
    const show = (sas) => {
        if (kept.sas !== null) return;
        kept.sas = sas;
        tell({ event: "sas", emoji: sas.sas.emoji ?? [], decimal: sas.sas.decimal ?? [] });
    };
    verifier.on(VerifierEvent.ShowSas, show);
    verifier.verify().then(
        () => tell({ event: "verified" }),
        (error) => tell({ event: "verification_failed", error: String(error?.message ?? error) }),
    );
    const shown = verifier.getShowSasCallbacks();
    if (shown) show(shown);
}

async function bootstrapCrossSigning(command = {}) {
    if (command.recovery_key) storageKey = decodeRecoveryKey(command.recovery_key);
    await client.getCrypto().bootstrapCrossSigning({
        setupNewCrossSigning: command.reset === true,
        authUploadDeviceSigningKeys: (request) =>
            request({
                type: "m.login.password",
                identifier: { type: "m.id.user", user: client.getUserId() },
                password,
            }),
    });
    return {};
}

async function syncing() {
    if (client.isInitialSyncComplete()) return;
    await new Promise((resolve) => {
        const look = () => {
            if (!client.isInitialSyncComplete()) return;
            client.off(ClientEvent.Sync, look);
            resolve();
        };
        client.on(ClientEvent.Sync, look);
    });
}

const commands = {
    async login(command) {
        password = command.password;
        const door = sdk.createClient({ baseUrl: command.homeserver });
        const session = await door.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: command.user },
            password,
            initial_device_display_name: command.device_name ?? "Bob",
        });
        client = sdk.createClient({
            baseUrl: command.homeserver,
            accessToken: session.access_token,
            userId: session.user_id,
            deviceId: session.device_id,
            timelineSupport: false,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => (storageKey === null ? null : [Object.keys(keys)[0], storageKey]),
            },
        });
        await client.initRustCrypto({ useIndexedDB: false });
        if (command.strict) client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
        client.on(RoomEvent.Timeline, onTimeline);
        client.on(RoomEvent.Receipt, onReceipt);
        client.on(RoomEvent.Redaction, (event, room) =>
            tell({ event: "redacted", room: room.roomId, event_id: event.getAssociatedId(), sender: event.getSender() }));
        client.on(sdk.RoomMemberEvent.Typing, (_, member) =>
            tell({ event: "typing", user: member.userId, room: member.roomId, on: member.typing }));
        client.on(CryptoEvent.VerificationRequestReceived, (request) => {
            tell({ event: "verification_request", user: request.otherUserId, room: request.roomId ?? null });
            follow(request);
        });
        client.on(RoomEvent.MyMembership, (room, membership) => {
            onMembership(room, membership).catch((error) => tell({ event: "error", error: String(error) }));
        });
        // The default of the later syncs is ten events; what is before them an application fetches when it is looked at.
        const filter = new sdk.Filter(session.user_id);
        filter.setTimelineLimit(1000);
        await client.startClient({ initialSyncLimit: 1000, lazyLoadMembers: false, filter });
        await syncing();
        if (command.cross_sign !== false) await bootstrapCrossSigning();
        return { user_id: session.user_id, device_id: session.device_id, access_token: session.access_token };
    },
    async send(command) {
        const content = { msgtype: command.msgtype ?? "m.text", body: command.body, ...(command.content ?? {}) };
        const type = command.type ?? EventType.RoomMessage;
        return { event_id: (await client.sendEvent(command.room, type, content, command.txn)).event_id };
    },
    // Until the server has it, in the order of the calls: for servers that go away in between.
    async send_surely(command) {
        const content = { msgtype: "m.text", body: command.body };
        const own = () => client.getRoom(command.room).getLiveTimeline().getEvents().find((e) => e.getTxnId() === command.txn);
        let attempt = () => client.sendEvent(command.room, EventType.RoomMessage, content, command.txn);
        for (;;) {
            try {
                return { event_id: (await attempt()).event_id };
            } catch (error) {
                await new Promise((resolve) => setTimeout(resolve, 300));
                const event = own();
                if (event === undefined) throw error;
                if (event.status === null || event.status === "sent") return { event_id: event.getId() };
                attempt = () => client.resendEvent(event, client.getRoom(command.room));
            }
        }
    },
    async send_file(command) {
        const plain = await readFile(command.path);
        const iv = new Uint8Array(16);
        crypto.getRandomValues(iv.subarray(0, 8));
        const key = await crypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
        const sealed = await crypto.subtle.encrypt({ name: "AES-CTR", counter: iv, length: 64 }, key, plain);
        const hash = await crypto.subtle.digest("SHA-256", sealed);
        const { content_uri: url } = await client.uploadContent(new Blob([sealed]), { type: "application/octet-stream", includeFilename: false });
        const file = {
            v: "v2", url, key: await crypto.subtle.exportKey("jwk", key), iv: unpadded(iv), hashes: { sha256: unpadded(new Uint8Array(hash)) },
        };
        const name = command.path.split("/").pop();
        const info = { mimetype: command.mimetype ?? "application/octet-stream", size: plain.length, ...(command.info ?? {}) };
        const content = { msgtype: command.msgtype ?? "m.file", body: command.caption ?? name, filename: name, info, file, ...(command.content ?? {}) };
        return { event_id: (await client.sendEvent(command.room, EventType.RoomMessage, content)).event_id, url };
    },
    async fetch_file(command) {
        const { file } = command.content;
        const medium = file.url.slice("mxc://".length);
        const answer = await fetch(`${client.getHomeserverUrl()}/_matrix/client/v1/media/download/${medium}`, {
            headers: { Authorization: `Bearer ${client.getAccessToken()}` },
        });
        if (!answer.ok) throw new Error(`the homeserver answered ${answer.status}`);
        const sealed = await answer.arrayBuffer();
        const hash = unpadded(new Uint8Array(await crypto.subtle.digest("SHA-256", sealed)));
        if (hash !== file.hashes.sha256) throw new Error("the file is not what its hash says");
        const key = await crypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
        const counter = Buffer.from(file.iv, "base64");
        const plain = await crypto.subtle.decrypt({ name: "AES-CTR", counter, length: 64 }, key, sealed);
        await writeFile(command.path, Buffer.from(plain));
        return { octets: plain.byteLength };
    },
    async edit(command) {
        const fresh = { msgtype: "m.text", body: command.body, ...(command.content ?? {}) };
        const relation = { rel_type: "m.replace", event_id: command.event_id };
        const whole = { ...fresh, body: `* ${fresh.body}`, "m.new_content": fresh, "m.relates_to": relation };
        return { event_id: (await client.sendEvent(command.room, EventType.RoomMessage, whole)).event_id };
    },
    async reply(command) {
        const content = { msgtype: "m.text", body: command.body, "m.relates_to": { "m.in_reply_to": { event_id: command.event_id } } };
        return { event_id: (await client.sendEvent(command.room, EventType.RoomMessage, content)).event_id };
    },
    async react(command) {
        const relation = { rel_type: "m.annotation", event_id: command.event_id, key: command.key };
        return { event_id: (await client.sendEvent(command.room, EventType.Reaction, { "m.relates_to": relation })).event_id };
    },
    async redact(command) {
        return { event_id: (await client.redactEvent(command.room, command.event_id)).event_id };
    },
    async read(command) {
        await client.sendReadReceipt(client.getRoom(command.room).findEventById(command.event_id));
        return {};
    },
    async poll(command) {
        const { PollStartEvent } = await import("matrix-js-sdk/lib/extensible_events_v1/PollStartEvent.js");
        const { M_POLL_KIND_DISCLOSED } = await import("matrix-js-sdk/lib/@types/polls.js");
        const poll = PollStartEvent.from(command.question, command.answers, M_POLL_KIND_DISCLOSED);
        const made = poll.serialize();
        const sent = await client.sendEvent(command.room, made.type, made.content);
        return { event_id: sent.event_id, answers: poll.answers.map((answer) => answer.id) };
    },
    async vote(command) {
        const { PollResponseEvent } = await import("matrix-js-sdk/lib/extensible_events_v1/PollResponseEvent.js");
        const made = PollResponseEvent.from(command.answers, command.event_id).serialize();
        return { event_id: (await client.sendEvent(command.room, made.type, made.content)).event_id };
    },
    async profile(command) {
        await client.setDisplayName(command.name);
        const picture = await client.uploadContent(Buffer.from(command.picture, "base64"), { type: "image/png", includeFilename: false });
        await client.setAvatarUrl(picture.content_uri);
        return {};
    },
    async create_dm(command) {
        const made = await client.createRoom({
            preset: command.preset ?? "trusted_private_chat",
            is_direct: true,
            invite: [command.user],
            room_version: command.version,
            initial_state: command.encrypted === false ? [] : [
                { type: EventType.RoomEncryption, state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2", ...(command.encryption ?? {}) } },
            ],
        });
        await rememberDirect(command.user, made.room_id);
        return { room: made.room_id };
    },
    async rooms() {
        return client.getRooms().map((room) => ({
            room: room.roomId,
            membership: room.getMyMembership(),
            encrypted: room.hasEncryptionStateEvent(),
            members: Object.fromEntries(room.currentState.getMembers().map((m) => [m.userId, m.membership])),
        }));
    },
    async join(command) {
        await client.joinRoom(command.room);
        return {};
    },
    async invite(command) {
        await client.invite(command.room, command.user);
        return {};
    },
    // As Element does it: the server makes the new room, the client invites those who were in the old one.
    async upgrade_room(command) {
        const before = client.getRoom(command.room);
        const others = before.getMembersWithMembership("join").filter((member) => member.userId !== client.getUserId());
        const made = (await client.upgradeRoom(command.room, command.version)).replacement_room;
        if (command.invite !== false) for (const member of others) await client.invite(made, member.userId);
        return { room: made };
    },
    async kick(command) {
        await client.kick(command.room, command.user);
        return {};
    },
    async set_state(command) {
        return { event_id: (await client.sendStateEvent(command.room, command.type, command.content, "")).event_id };
    },
    async leave(command) {
        await client.leave(command.room);
        return {};
    },
    async typing(command) {
        await client.sendTyping(command.room, command.on, 20000);
        return {};
    },
    async presence(command) {
        await client.setSyncPresence(command.presence);
        await client.setPresence({ presence: command.presence, status_msg: command.status ?? "" });
        return {};
    },
    async discard_session(command) {
        await client.getCrypto().forceDiscardSession(command.room);
        return {};
    },
    async strict(command) {
        const mode = command.on ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false);
        client.getCrypto().setDeviceIsolationMode(mode);
        return {};
    },
    async devices(command) {
        const found = await client.getCrypto().getUserDeviceInfo([command.user], true);
        return [...(found.get(command.user)?.values() ?? [])].map((device) => ({
            device_id: device.deviceId, ed25519: device.getFingerprint(), curve25519: device.getIdentityKey(),
        }));
    },
    async export_keys() {
        return JSON.parse(await client.getCrypto().exportRoomKeysAsJson());
    },
    async stop_sync() {
        client.stopClient();
        return {};
    },
    async logout() {
        await client.logout(true);
        return {};
    },
    bootstrap_cross_signing: bootstrapCrossSigning,
    async make_secret_storage() {
        const made = await client.getCrypto().createRecoveryKeyFromPassphrase();
        storageKey = made.privateKey;
        await client.getCrypto().bootstrapSecretStorage({ createSecretStorageKey: async () => made });
        return { recovery_key: made.encodedPrivateKey };
    },
    async backup_make() {
        await client.getCrypto().resetKeyBackup();
        return { version: await client.getCrypto().getActiveSessionBackupVersion() };
    },
    async backup_status() {
        const info = await client.getCrypto().getKeyBackupInfo();
        const trust = info ? await client.getCrypto().isKeyBackupTrusted(info) : null;
        return { info, trust, active: await client.getCrypto().getActiveSessionBackupVersion() };
    },
    async backup_restore() {
        await client.getCrypto().loadSessionBackupPrivateKeyFromSecretStorage();
        await client.getCrypto().checkKeyBackupAndEnable();
        const found = await client.getCrypto().restoreKeyBackup();
        return { imported: found.imported, total: found.total };
    },
    async backup_count() {
        const prefix = "/_matrix/client/v3"; // the client knows only what it last asked
        const told = await client.http.authedRequest("GET", "/room_keys/version", undefined, undefined, { prefix });
        return { count: told.count };
    },
    async history(command) {
        const shown = [];
        for (const event of client.getRoom(command.room)?.getLiveTimeline().getEvents() ?? []) {
            if (event.getWireType() !== EventType.RoomMessageEncrypted) continue;
            if (event.shouldAttemptDecryption() || event.isDecryptionFailure()) await client.decryptEventIfNeeded(event);
            shown.push({ ...described(event), body: event.isDecryptionFailure() ? null : event.getContent().body });
        }
        return shown;
    },
    async recover_identity(command) {
        storageKey = decodeRecoveryKey(command.recovery_key);
        await client.getCrypto().userHasCrossSigningKeys(client.getUserId(), true); // the public ones, first
        await client.getCrypto().bootstrapCrossSigning({});
        const status = await client.getCrypto().getCrossSigningStatus();
        return { ready: await client.getCrypto().isCrossSigningReady(), status };
    },
    async identity(command) {
        const status = await client.getCrypto().getUserVerificationStatus(command.user);
        const device = command.device && (await client.getCrypto().getDeviceVerificationStatus(command.user, command.device));
        return {
            verified: status.isCrossSigningVerified(),
            was_verified: status.wasCrossSigningVerified(),
            device_signed: device ? device.signedByOwner : null,
        };
    },
    async verify_ask(command) {
        const crypto = client.getCrypto();
        if (command.room) return follow(await crypto.requestVerificationDM(command.user, command.room));
        await crypto.getUserDeviceInfo([command.user], true);
        return follow(await crypto.requestDeviceVerification(command.user, command.device));
    },
    async verify_accept() {
        await verification.request.accept();
        return {};
    },
    async verify_start() {
        run(verification, await verification.request.startVerification("m.sas.v1"));
        return {};
    },
    async verify_scan(command) {
        const verifier = await verification.request.scanQRCode(Uint8ClampedArray.from(Buffer.from(command.code, "hex")));
        if (verification.verifier === null) run(verification, verifier);
        return {};
    },
    async verify_match() {
        await verification.sas.confirm();
        return {};
    },
    async verify_differ() {
        verification.sas.mismatch();
        return {};
    },
    async verify_cancel() {
        await verification.request.cancel();
        return {};
    },
    async quit() {
        setTimeout(() => process.exit(0), 20);
        return {};
    },
};

async function carryOut(line) {
    let command = {};
    try {
        command = JSON.parse(line);
        const found = commands[command.cmd];
        if (found === undefined) throw new Error(`no such command: ${command.cmd}`);
        tell({ reply: command.id ?? null, ok: true, result: await found(command) });
    } catch (error) {
        tell({ reply: command.id ?? null, ok: false, error: String(error?.stack ?? error) });
    }
}

process.on("unhandledRejection", (error) => tell({ event: "error", error: String(error?.stack ?? error) }));
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim()) await carryOut(line);
}
process.exit(0);
