// Goal: what a health worker queued is at the relay once and nobody's values are replaced unasked.
// Method: the client of `src/health.js` against the real relay, and a device that reads along.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { empty, Health } from "../src/health.js";
import { logIn, open } from "./app.js";
import { Site, TENANT } from "./site.js";

/** @typedef {import("../src/health.js").Resolution} Resolution */

/** @type {Site} */
let site;
/** @type {import("./site.js").Device} */
let clinic;

before(async () => {
  site = await Site.make();
  for (const name of ["ana", "ben"]) await site.person(`${name}@example.org`, "health-worker");
  await site.person("lena@example.org", "admin");
  await site.up();
  clinic = await site.device("admin");
});

after(() => site?.end());

/**
 * @param {string} device
 * @param {string} [name]
 * @param {Resolution} [choice] what is answered when the app asks
 */
async function phone(device, name = "ana", choice = "SERVER_WINS") {
  const opened = await logIn(site, device, `${name}@example.org`, empty);
  /** @type {any[]} */
  const asked = [];
  const ask = async (/** @type {any} */ _, /** @type {any} */ conflict) => {
    asked.push(conflict);
    return choice;
  };
  const setup = { userId: opened.user.id, ask, isOnline: () => false };
  return { ...opened, setup, asked, app: new Health(opened.session, opened.store, setup) };
}

/** @param {string} collection */
async function atClinic(collection) {
  await clinic.sync();
  return clinic.export(collection);
}

/** @param {{ store: { value: import("../src/health.js").Clinic } }} app */
function resource({ store }, type = "patient") {
  const found = Object.entries(store.value.resources).find(([place]) => place.startsWith(type));
  return found?.[1];
}

test("a patient is queued offline, sent, and at a device of the clinic", async () => {
  const ana = await phone("phone-1");
  await ana.app.queueOperation("CREATE", "patient", { name: "Rosa Diaz", phone: "1" });
  assert.equal(ana.app.badge(), "Pending: 1, Failed: 0");
  await ana.app.syncAll();
  assert.equal(ana.app.badge(), "All synced ✓");
  const { id } = resource(ana);
  await ana.app.queueOperation("UPDATE", "patient", { village: "Pecos" }, id);
  await ana.app.syncAll();
  const rosa = (await atClinic("patient")).find(({ fields }) => fields.name === "Rosa Diaz");
  assert.deepEqual([rosa.fields.phone, rosa.fields.village], ["1", "Pecos"]);
});

test("online, an operation is sent at once; whoever asks meanwhile waits for the same", async () => {
  const ana = await phone("phone-2");
  const app = new Health(ana.session, ana.store, { ...ana.setup, isOnline: () => true });
  await app.queueOperation("CREATE", "patient", { name: "Juan Ortiz" });
  await Promise.all([app.syncAll(), app.syncAll()]);
  assert.deepEqual(app.getSyncStatus(), { total: 0, pending: 0, failed: 0 });
  assert.equal(ana.wire.seen.filter(([path]) => path.startsWith("/api/v1/sync/process")).length, 1);
});

test("an answer that is lost at any step queues nothing twice", async () => {
  const ana = await phone("phone-3");
  await ana.app.queueOperation("CREATE", "patient", { name: "Eva Luz" });
  for (const weather of /** @type {const} */ ([["answer lost"], ["fine", "answer lost"]])) {
    ana.wire.next(...weather);
    await ana.app.syncAll();
    assert.equal(ana.app.badge(), "Pending: 0, Failed: 1");
  }
  ana.wire.next("fine");
  ana.wire.beforeNextAnswer(() => site.kill());
  await ana.app.syncAll();
  assert.deepEqual(ana.app.getSyncStatus(), { total: 1, pending: 0, failed: 1 });
  await site.up();
  // The app was ended in the middle: what was on its way is pending again.
  await ana.store.change(({ queue }) => queue.forEach((one) => (one.status = "SYNCING")));
  const left = await open(site, "phone-3", empty, ana.wire);
  const next = new Health(left.session, left.store, ana.setup);
  await next.initialize();
  assert.equal(next.badge(), "Pending: 1, Failed: 0");
  await next.syncAll();
  assert.equal(next.badge(), "All synced ✓");
  const names = (await atClinic("patient")).map(({ fields }) => fields.name);
  assert.deepEqual(names.filter((name) => name === "Eva Luz"), ["Eva Luz"]);
});

test("a client without ids of its own queues nothing twice either", async () => {
  const ana = await phone("phone-4");
  const operation = {
    userId: ana.user.id, deviceId: "phone-4", operation: "CREATE", resourceType: "patient",
    data: { name: "Teo Paz" }, createdAtClient: "2026-03-07T08:00:00.000Z", version: 1,
  };
  const queue = () => ana.session.json("/api/v1/sync/queue", { method: "POST", body: operation });
  ana.wire.next("answer lost");
  await assert.rejects(queue(), TypeError);
  const { id } = await queue();
  const process = () => ana.session.json(`/api/v1/sync/process/${id}`, { method: "POST" });
  const [first, second] = [await process(), await process()];
  assert.deepEqual([first.status, second], ["SYNCED", first]);
  const names = (await atClinic("patient")).map(({ fields }) => fields.name);
  assert.deepEqual(names.filter((name) => name === "Teo Paz"), ["Teo Paz"]);
});

/** A patient of Ana's that Ben has changed since. @param {any} ana @param {any} ben @param {string} name */
async function contested(ana, ben, name) {
  await ana.app.queueOperation("CREATE", "patient", { name, phone: "1" });
  await ana.app.syncAll();
  const { id } = resource(ana);
  await ben.app.queueOperation("UPDATE", "patient", { phone: "2" }, id);
  await ben.app.syncAll();
  await ana.app.queueOperation("UPDATE", "patient", { phone: "3" }, id);
  await ana.app.syncAll();
  return id;
}

/** @param {string} name */
async function phoneOf(name) {
  const found = (await atClinic("patient")).find(({ fields }) => fields.name === name);
  return found?.fields.phone;
}

test("a conflict is asked about, and the server's values may stand", async () => {
  const [ana, ben] = [await phone("phone-5"), await phone("phone-6", "ben")];
  await contested(ana, ben, "Ida Sol");
  const [conflict] = ana.asked;
  assert.deepEqual(conflict.resolutionOptions, ["CLIENT_WINS", "SERVER_WINS", "MANUAL"]);
  assert.deepEqual([conflict.localData.phone, conflict.serverData.phone], ["3", "2"]);
  assert.equal(ana.app.badge(), "All synced ✓");
  assert.equal(await phoneOf("Ida Sol"), "2");
});

test("the client's values need an admin, and are lost by nobody until then", async () => {
  const ana = await phone("phone-7", "ana", "CLIENT_WINS");
  const ben = await phone("phone-8", "ben");
  await contested(ana, ben, "Leo Mar");
  assert.equal(ana.store.value.queue[0]?.status, "IN_REVIEW");
  assert.equal(await phoneOf("Leo Mar"), "2");
  const { session } = await logIn(site, "office", "lena@example.org", empty);
  const { conflicts } = await session.json("/api/v1/sync/conflicts");
  const found = conflicts.find((/** @type {any} */ one) => one.localData.phone === "3");
  assert.ok(found, JSON.stringify(conflicts));
  const path = `/api/v1/sync/resolve/${encodeURIComponent(found.id)}?resolution=CLIENT_WINS`;
  const settled = await session.json(path, { method: "PATCH" });
  assert.equal(settled.status, "SYNCED");
  assert.equal(await phoneOf("Leo Mar"), "3");
});

test("tokens that end while a queue is sent are renewed, once", async () => {
  const ana = await phone("phone-9");
  for (const n of [1, 2, 3]) await ana.app.queueOperation("CREATE", "patient", { name: `Nr ${n}` });
  const rotate = () => site.command(["user", "rotate-key", "--tenant", TENANT]);
  ana.wire.beforeNextAnswer(async () => void (await rotate()));
  await ana.app.syncAll();
  assert.equal(ana.app.badge(), "All synced ✓");
  assert.equal(ana.wire.seen.filter(([path]) => path === "/auth/refresh").length, 1);
});
