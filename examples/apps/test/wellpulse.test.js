// Goal: the flows of the wellpulse app hold against the real relay, also where the network does not.
// Method: the client of `src/wellpulse.js`, and a device of the crew beside it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Refused } from "../src/session.js";
import { empty, Wellpulse } from "../src/wellpulse.js";
import { logIn, open } from "./app.js";
import { Site, TENANT } from "./site.js";

/** @type {Site} */
let site;
/** @type {import("./site.js").Device} */
let truck;
/** @type {string} */
let well;

before(async () => {
  site = await Site.make();
  await site.person("ana@example.org", "operator");
  await site.person("max@example.org", "operator");
  await site.up();
  truck = await site.device("admin");
  const place = ["latitude=31.5", "longitude=-102.5"];
  const values = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE", ...place];
  well = await truck.record("well", ...values);
  await truck.record("user", "email=lena@example.org", "name=Lena Ott", "role=MANAGER");
  await truck.sync();
});

after(() => site?.end());

/**
 * @param {number} minute
 * @param {number} oilVolume
 */
function production(minute, oilVolume) {
  const recordedAt = `2026-03-07T08:${String(minute).padStart(2, "0")}:00.000Z`;
  const entryType = /** @type {const} */ ("PRODUCTION");
  return { wellId: well, entryType, data: { oilVolume }, recordedAt };
}

/** The entries at a device, by their volume of oil. */
async function atTruck() {
  await truck.sync();
  const entries = await truck.export("field_entry");
  return entries.map((entry) => entry.fields.data.oilVolume);
}

test("wells come down, entries go up, and each is at a device once", async () => {
  const { session, store, wire } = await logIn(site, "tablet-1", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  for (const minute of [0, 1, 2]) await app.record(production(minute, 80 + minute));
  assert.deepEqual(await app.sync(), { succeeded: 3, failed: 0 });
  assert.deepEqual(store.value.wells.map(({ id, name }) => [id, name]), [[well, "Alder 1"]]);
  assert.ok(store.value.users.some(({ name }) => name === "Lena Ott"));
  assert.ok(store.value.metadata["wells"]);
  assert.deepEqual(await app.push(), { succeeded: 0, failed: 0 });
  const status = await app.status();
  assert.equal(status.pendingEntries, 0);
  assert.ok(status.lastSyncAt);
  assert.equal(wire.seen.filter(([path]) => path === "/sync/push").length, 1);
  assert.deepEqual((await atTruck()).sort(), [80, 81, 82]);
});

test("what a device records comes down, and what it changes is seen", async () => {
  const { session } = await logIn(site, "tablet-2", "ana@example.org", empty);
  const values = [`wellId=${well}`, "entryType=PRODUCTION", "oilVolume=70", "--at"];
  const id = await truck.record("field_entry", ...values, "2026-03-07T07:00:00Z");
  await truck.sync();
  const { entries } = await session.json("/sync/pull?include=entries");
  const found = entries.find((/** @type {any} */ entry) => entry.id === id);
  assert.deepEqual(found?.data, { oilVolume: 70 });
  await truck.run("edit", id, "oilVolume=71");
  await truck.sync();
  const again = await session.json("/sync/pull?include=entries");
  const edited = again.entries.find((/** @type {any} */ entry) => entry.id === id);
  assert.deepEqual(edited?.data, { oilVolume: 71 });
});

test("an answer that is lost and a relay that is killed double nothing and lose nothing", async () => {
  const before = await atTruck();
  const { session, store, wire } = await logIn(site, "tablet-3", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  await app.record(production(10, 90));
  await app.record(production(11, 91));
  wire.next("request lost", "answer lost");
  await assert.rejects(app.push(), TypeError);
  await assert.rejects(app.push(), TypeError);
  assert.deepEqual(app.pending().map(({ attempts }) => attempts), [2, 2]);
  // The relay stores them a third time, and dies before the app hears of it.
  wire.beforeNextAnswer(() => site.kill());
  wire.next("answer lost");
  await assert.rejects(app.push(), TypeError);
  await assert.rejects(app.push(), TypeError);
  await site.up();
  // The app was ended meanwhile: another one opens what it left.
  const left = await open(site, "tablet-3", empty, wire);
  const next = new Wellpulse(left.session, left.store);
  assert.deepEqual(await next.push(), { succeeded: 2, failed: 0 });
  assert.deepEqual(next.pending(), []);
  const volumes = (await atTruck()).filter((volume) => !before.includes(volume));
  assert.deepEqual(volumes.sort(), [90, 91]);
});

test("a token that ends in the middle of a shift is renewed, also where the answer is lost", async () => {
  const { session, store, wire } = await logIn(site, "tablet-4", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  await app.record(production(20, 60));
  const { tokens } = store.value;
  await site.command(["user", "rotate-key", "--tenant", TENANT]);
  wire.next("fine", "answer lost");
  await assert.rejects(app.push(), TypeError);
  assert.deepEqual(store.value.tokens, tokens, "nothing is forgotten");
  wire.seen = [];
  // Two requests at once renew it once.
  const [pushed] = await Promise.all([app.push(), app.pull()]);
  assert.deepEqual(pushed, { succeeded: 1, failed: 0 });
  assert.equal(wire.seen.filter(([path]) => path === "/auth/refresh").length, 1);
  assert.notEqual(store.value.tokens?.refreshToken, tokens?.refreshToken);
});

test("a photo is sent before its entry, once, and can be had again", async () => {
  const { session, store, wire } = await logIn(site, "tablet-9", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  const bytes = new Uint8Array([0xff, 0xd8, 0xff, 1, 2, 3]);
  const id = await app.record(production(25, 61));
  await app.attach(id, { type: "image/jpeg", bytes });
  wire.next("answer lost");
  await assert.rejects(app.push(), TypeError);
  assert.deepEqual(await app.push(), { succeeded: 1, failed: 0 });
  const uploads = wire.seen.filter(([path]) => path === "/upload");
  assert.deepEqual(uploads.map(([, status]) => status), [201, 200]);
  const [url] = store.value.entries[0]?.entry.photos ?? [];
  const given = await session.send(url ?? "");
  assert.equal(given.headers.get("content-type"), "image/jpeg");
  assert.deepEqual(new Uint8Array(await given.arrayBuffer()), bytes);
  const { entries } = await session.json("/sync/entries");
  assert.ok(entries.some((/** @type {any} */ entry) => entry.photos?.includes(url)));
});

test("what cannot be stored is told, by itself, and holds up nothing", async () => {
  const { session, store } = await logIn(site, "tablet-5", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  const bad = await app.record(production(30, -1));
  assert.deepEqual(await app.push(), { succeeded: 0, failed: 1 });
  const first = await app.record(production(31, 50));
  const strange = await app.record({ ...production(32, 51), wellId: "no-such-well" });
  const last = await app.record(production(33, 52));
  assert.deepEqual(await app.push(), { succeeded: 2, failed: 1 });
  const kept = new Map(store.value.entries.map((one) => [one.entry.id, one]));
  assert.equal(kept.get(bad)?.reason, "Oil volume cannot be negative");
  assert.match(kept.get(strange)?.reason ?? "", /Well not found/);
  assert.deepEqual([kept.get(first)?.state, kept.get(last)?.state], ["synced", "synced"]);
});

test("two values for one moment: one is seen, both apps are told, nothing is lost", async () => {
  const { session, store } = await logIn(site, "tablet-6", "ana@example.org", empty);
  const app = new Wellpulse(session, store);
  await app.record(production(40, 10));
  await app.push();
  const other = await app.record(production(40, 11));
  assert.deepEqual(await app.push(), { succeeded: 1, failed: 0 });
  const kept = store.value.entries.find(({ entry }) => entry.id === other);
  assert.deepEqual([kept?.state, kept?.reason], ["synced", "SERVER_WINS"]);
  const volumes = await atTruck();
  assert.ok(volumes.includes(10) && !volumes.includes(11), "the one that was there first is seen");
  const entries = await truck.export("field_entry");
  const seen = entries.find((entry) => entry.fields.data.oilVolume === 10);
  assert.match(await truck.run("history", seen.id), /11/);
});

test("beyond a limit entries wait, and the app knows how long", async () => {
  await site.kill();
  await site.up(["--sync-requests-a-minute", "2"]);
  const { session, store, wire } = await logIn(site, "tablet-7", "max@example.org", empty);
  const app = new Wellpulse(session, store);
  await app.pull();
  await app.pull();
  await app.record(production(50, 1));
  /** @type {unknown} */
  const refused = await app.push().catch((error) => error);
  assert.ok(refused instanceof Refused && refused.status === 429 && refused.isTemporary);
  assert.ok(refused.retryAfter !== undefined && refused.retryAfter > 0);
  assert.equal(app.pending().length, 1);
  await site.kill();
  await site.up();
  assert.deepEqual(await app.push(), { succeeded: 1, failed: 0 });
  assert.ok(wire.seen.some(([, status]) => status === 429));
});

test("an app that marks the first of its entries as synced, as documented, loses nothing", async () => {
  const { session, wire } = await logIn(site, "tablet-8", "max@example.org", empty);
  const before = await atTruck();
  // At minutes that no other tablet has an entry of: those would count once with them.
  let pending = [0, 1, 2, 3, 4].map((n) => production(53 + n, 500 + n));
  wire.next("fine", "answer lost", "request lost", "fine");
  for (let attempt = 0; pending.length > 0 && attempt < 10; attempt += 1) {
    const body = { deviceId: "tablet-8", entries: pending.slice(0, 2) };
    try {
      const { succeeded } = await session.json("/sync/push", { method: "POST", body });
      pending = pending.slice(succeeded);
    } catch {
      continue;
    }
  }
  const volumes = (await atTruck()).filter((volume) => !before.includes(volume));
  assert.deepEqual(volumes.sort(), [500, 501, 502, 503, 504]);
});
