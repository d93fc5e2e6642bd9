// Goal: what a shift logged is at the relay once, whatever happens on the way, and its screen tells
// the truth. Method: the client of `src/batch.js` against the real relay; a device reads along.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { BatchSync, Connectivity, empty, endOfShift, EventStore } from "../src/batch.js";
import { Store } from "../src/store.js";
import { logIn, open } from "./app.js";
import { Site, TENANT } from "./site.js";
import { RELAY } from "./wire.js";

/** @type {Site} */
let site;
/** @type {import("./site.js").Device} */
let truck;

before(async () => {
  site = await Site.make();
  await site.person("ana@example.org", "operator");
  await site.person("lena@example.org", "manager");
  await site.up();
  truck = await site.device("manager");
});

after(() => site?.end());

/** @param {{ session: any, store: any, wire: import("./wire.js").Wire }} app */
function shift({ session, store, wire }, isOnline = true) {
  const events = new EventStore(store);
  const connectivity = new Connectivity({ url: RELAY, fetch: wire.fetch, isOnline });
  const sync = new BatchSync({ session, store: events, connectivity, tenantId: TENANT });
  const log = (/** @type {object} */ payload) =>
    events.append("PRODUCTION_LOGGED", payload, "ana", session.device);
  return { events, connectivity, sync, log };
}

/**
 * @param {string} wellId
 * @param {number} volume
 */
function production(wellId, volume) {
  return { wellId, volume, unit: "barrels", recordedAt: "2026-03-07T08:00:00.000Z" };
}

/** Ids of the events of a well that a device of the crew has. @param {string} well */
async function atTruck(well) {
  await truck.sync();
  const events = await truck.export("field_event");
  return events.filter((event) => JSON.stringify(event.fields).includes(well));
}

test("events are appended, listed as unsynced and marked by themselves", async () => {
  const events = new EventStore(new Store(empty()));
  const ids = [];
  for (const n of [1, 2]) ids.push(await events.append("NOTES_ADDED", { text: n }, "ana", "d"));
  assert.deepEqual(events.unsynced().map(({ id }) => id), ids);
  await events.markSynced([]);
  await events.incrementAttempts(ids.slice(1));
  assert.deepEqual(events.unsynced().map(({ syncAttempts }) => syncAttempts), [0, 1]);
  await events.markSynced(ids);
  assert.deepEqual(events.stats(), { unsynced: 0, synced: 2, total: 2 });
});

test("the end of a shift: everything goes up in one request and the screen says so", async () => {
  const app = await logIn(site, "phone-1", "ana@example.org", empty);
  const { events, sync, log } = shift(app);
  for (const n of [1, 2, 3]) await log(production(`W1-${n}`, n));
  await events.append("NEW_KIND", { anything: [1, { deep: true }] }, "ana", "phone-1");
  app.wire.seen = [];
  const result = await sync.syncNow();
  assert.deepEqual(result, { success: true, syncedCount: 4, conflicts: [], errors: [] });
  assert.deepEqual(endOfShift(result), ["✓ Successfully synced 4 events!"]);
  assert.deepEqual(app.wire.seen, [["/field-data/sync", 200]]);
  // Nothing is left, so nothing is sent.
  assert.deepEqual(await sync.syncNow(), { ...result, syncedCount: 0 });
  assert.equal(app.wire.seen.length, 1);
  assert.equal((await atTruck("W1-")).length, 3);
});

test("one sync at a time, none while offline, and the attempts are counted", async () => {
  const app = await logIn(site, "phone-2", "ana@example.org", empty);
  const { events, connectivity, sync, log } = shift(app);
  await log(production("W2", 1));
  app.wire.next("request lost");
  const [first, second] = await Promise.all([sync.syncNow(), sync.syncNow()]);
  assert.deepEqual([first.success, first.errors.length], [false, 1]);
  assert.deepEqual(second.errors, ["Sync already in progress"]);
  assert.deepEqual(events.unsynced().map(({ syncAttempts }) => syncAttempts), [1]);
  app.wire.isCut = true;
  await connectivity.check();
  assert.deepEqual((await sync.syncNow()).errors, ["Device is offline"]);
  assert.match(endOfShift(await sync.syncNow()).join(" "), /Your data is safe locally/);
  app.wire.isCut = false;
  await connectivity.check();
  assert.deepEqual((await sync.automatic)?.syncedCount, 1);
});

test("an answer that is lost makes no event conflict with itself", async () => {
  const app = await logIn(site, "phone-3", "ana@example.org", empty);
  const { sync, log } = shift(app);
  await log(production("W3", 7));
  app.wire.next("answer lost");
  assert.equal((await sync.syncNow()).success, false);
  assert.deepEqual((await sync.syncNow()), { success: true, syncedCount: 1, conflicts: [], errors: [] });
  assert.equal((await atTruck("W3")).length, 1);
});

test("a relay that is killed is found again and gets the shift once", async () => {
  const app = await logIn(site, "phone-4", "ana@example.org", empty);
  const { events, connectivity, sync, log } = shift(app);
  for (const n of [1, 2]) await log(production(`W4-${n}`, n));
  app.wire.beforeNextAnswer(() => site.kill());
  app.wire.next("answer lost");
  assert.equal((await sync.syncNow()).success, false);
  await connectivity.check();
  assert.equal(connectivity.isOnline(), false);
  await log(production("W4-3", 3));
  // The app is ended and started again while there is no network.
  const left = await open(site, "phone-4", empty, app.wire);
  const next = shift(left, false);
  assert.deepEqual(next.events.stats(), { unsynced: 3, synced: 0, total: 3 });
  await site.up();
  await next.connectivity.check();
  assert.equal((await next.sync.automatic)?.syncedCount, 3);
  assert.equal((await atTruck("W4-")).length, 3);
  assert.equal(events.stats().unsynced, 3, "the app that ended was told nothing");
});

test("a conflict comes again until a manager has settled it", async () => {
  const one = await logIn(site, "phone-5", "ana@example.org", empty);
  const two = await logIn(site, "phone-6", "ana@example.org", empty);
  const [mine, theirs] = [shift(one), shift(two)];
  await mine.log(production("W5", 10));
  await mine.sync.syncNow();
  const id = await theirs.log(production("W5", 12));
  const result = await theirs.sync.syncNow();
  const reason = "Production data already exists for this well and timestamp";
  assert.deepEqual(result.conflicts.map((found) => [found.eventId, found.reason]), [[id, reason]]);
  assert.equal(result.conflicts[0]?.localData.payload.volume, 12);
  assert.equal(result.conflicts[0]?.serverData.payload.volume, 10);
  assert.deepEqual(endOfShift(result).slice(1), [
    "⚠ 1 conflicts detected. These will be reviewed by a manager.", reason,
  ]);
  assert.deepEqual((await theirs.sync.syncNow()).conflicts, result.conflicts);
  const { session } = await logIn(site, "office", "lena@example.org", empty);
  const { conflicts } = await session.json("/field-data/conflicts");
  const found = conflicts.find((/** @type {any} */ conflict) => conflict.eventId === id);
  const path = `/field-data/conflicts/${encodeURIComponent(found.conflictId)}/resolve`;
  const body = { resolution: "CLIENT_WINS" };
  await session.json(path, { method: "POST", body });
  const settled = await theirs.sync.syncNow();
  assert.deepEqual([settled.syncedCount, settled.conflicts], [1, []]);
  assert.equal(theirs.events.stats().unsynced, 0);
});

test("a session of the morning still sends at night, whatever became of its token", async () => {
  const app = await logIn(site, "phone-7", "ana@example.org", empty);
  const { sync, log } = shift(app);
  await log(production("W7", 1));
  await site.command(["user", "rotate-key", "--tenant", TENANT]);
  assert.equal((await sync.syncNow()).syncedCount, 1);
  assert.ok(app.wire.seen.some(([path]) => path === "/auth/refresh"));
  // Somebody who is shut out is told so and keeps what he has.
  await log(production("W7-2", 1));
  await site.command(["user", "disable", "--tenant", TENANT, "ana@example.org"]);
  const refused = await sync.syncNow();
  assert.match(refused.errors.join(), /log in again/);
  await site.command(["user", "enable", "--tenant", TENANT, "ana@example.org"]);
  const again = await logIn(site, "phone-7", "ana@example.org", empty);
  assert.equal((await shift(again).sync.syncNow()).syncedCount, 1);
});
