// Goal: a practice works offline under ids of its devices, and nothing it made is doubled or lost on
// the way to lasting ones. Method: the client of `src/vet.js` against the real relay, and a device.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { empty, Vet } from "../src/vet.js";
import { logIn, open } from "./app.js";
import { Site, TENANT } from "./site.js";

/** @type {Site} */
let site;
/** @type {import("./site.js").Device} */
let office;
/** The owner of the pets, a record of the practice. @type {string} */
let owner;

before(async () => {
  site = await Site.make();
  const practice = ["--practice", "1"];
  for (const name of ["vera", "paul"]) {
    await site.person(`${name}@example.org`, "practitioner", practice);
  }
  await site.up();
  office = await site.device("admin");
  owner = await office.record("user", "email=olga@example.org", "name=Olga Ives", "role=CLIENT");
  await office.sync();
});

after(() => site?.end());

/**
 * @param {string} device
 * @param {string} [name]
 */
async function tablet(device, name = "vera") {
  const opened = await logIn(site, device, `${name}@example.org`, empty);
  const who = { userId: opened.user.id, practiceId: 1, tenantId: TENANT };
  return { ...opened, who, app: new Vet(opened.session, opened.store, who) };
}

/** @param {string} name */
function pet(name) {
  return { name, species: "dog", ownerId: owner, practiceId: 1 };
}

/** @param {string | number} petId */
function appointment(petId, title = "Checkup") {
  const date = "2026-03-09T10:00:00.000Z";
  return { title, type: "checkup", date, durationMinutes: 30, petId, practiceId: 1 };
}

/** @param {string} collection */
async function atOffice(collection) {
  await office.sync();
  return office.export(collection);
}

test("a pet and its appointment, made offline under ids of the device, get lasting ones", async () => {
  const vera = await tablet("tablet-1");
  const petId = await vera.app.create("pets", pet("Rex"));
  const visit = await vera.app.create("appointments", appointment(petId));
  await vera.app.update("appointments", visit, { title: "First visit" });
  assert.equal(vera.app.read("appointments", visit)?.title, "First visit");
  /** @type {number[]} */
  const progress = [];
  await vera.app.sync(({ percentage }) => progress.push(percentage));
  assert.deepEqual(progress, [100]);
  assert.deepEqual(vera.app.stats(), { pending: 0, failed: 0, conflicts: 0 });
  assert.equal(vera.app.read("appointments", visit), undefined);
  const records = Object.entries(vera.store.value.records);
  const [, made] = records.find(([place]) => place.startsWith("appointments/")) ?? [];
  const [, rex] = records.find(([place]) => place.startsWith("pets/")) ?? [];
  assert.deepEqual([made?.petId, made?.title], [rex?.id, "First visit"]);
  assert.deepEqual([made?.clientId, made?.durationMinutes], [owner, "30"]);
  const [shown] = await atOffice("appointment");
  assert.equal(shown.fields.title, "First visit");
});

test("a lost answer and a killed relay make no second pet", async () => {
  const vera = await tablet("tablet-2");
  const petId = await vera.app.create("pets", pet("Bella"));
  await vera.app.create("appointments", appointment(petId, "Bella's"));
  vera.wire.next("answer lost");
  await assert.rejects(vera.app.push(), TypeError);
  vera.wire.beforeNextAnswer(() => site.kill());
  vera.wire.next("answer lost");
  await assert.rejects(vera.app.push(), TypeError);
  await assert.rejects(vera.app.push(), TypeError);
  await site.up();
  const left = await open(site, "tablet-2", empty, vera.wire);
  const next = new Vet(left.session, left.store, vera.who);
  assert.equal(next.stats().pending, 2);
  await next.sync();
  assert.equal(next.stats().pending, 0);
  const names = (await atOffice("pet")).map(({ fields }) => fields.name);
  assert.deepEqual(names.filter((name) => name === "Bella"), ["Bella"]);
  const titles = (await atOffice("appointment")).map(({ fields }) => fields.title);
  assert.deepEqual(titles.filter((title) => title === "Bella's"), ["Bella's"]);
});

test("an appointment for no pet fails by itself, with the reason", async () => {
  const vera = await tablet("tablet-3");
  await vera.app.create("appointments", appointment("temp_never_made"));
  await vera.app.create("pets", pet("Rocky"));
  await vera.app.sync();
  assert.deepEqual(vera.app.stats(), { pending: 0, failed: 1, conflicts: 0 });
  assert.match(vera.store.value.queue[0]?.error ?? "", /Pet/);
});

test("what the office changes comes down, and what it deletes goes", async () => {
  const vera = await tablet("tablet-4");
  await vera.app.create("pets", pet("Luna"));
  await vera.app.sync();
  const luna = (await atOffice("pet")).find(({ fields }) => fields.name === "Luna");
  await office.run("edit", luna.id, "breed=Beagle");
  await office.sync();
  await vera.app.sync();
  const seen = () => Object.values(vera.store.value.records).find(({ name }) => name === "Luna");
  assert.equal(seen()?.breed, "Beagle");
  await office.run("delete", luna.id);
  await office.sync();
  await vera.app.sync();
  assert.equal(seen(), undefined);
});

test("both change a title: one is asked and both his answers can be had", async () => {
  const [vera, paul] = [await tablet("tablet-5"), await tablet("tablet-6", "paul")];
  const made = await vera.app.create("pets", pet("Milo"));
  await vera.app.sync();
  const id = find(vera, "Milo");
  assert.notEqual(id, made);
  await paul.app.sync();
  await vera.app.update("pets", id, { name: "Milo I" });
  await vera.app.sync();
  await paul.app.update("pets", id, { name: "Milo P", breed: "Pug" });
  await paul.app.update("pets", id, { sex: "M" });
  await paul.app.sync();
  const [conflict] = paul.app.conflicts();
  assert.deepEqual(conflict?.conflict?.affectedFields, ["name"]);
  assert.equal(conflict?.conflict?.serverData["name"], "Milo I");
  // A conflict is kept over a restart of the app, and is not sent again by itself.
  const left = await open(site, "tablet-6", empty, paul.wire);
  const app = new Vet(left.session, left.store, paul.who);
  await app.sync();
  assert.equal(app.conflicts().length, 1);
  await app.resolve(conflict?.operation.id ?? 0, { name: "Milo IP", breed: "Pug" });
  await app.sync();
  assert.deepEqual(app.stats(), { pending: 0, failed: 0, conflicts: 0 });
  await vera.app.sync();
  const { name, breed, sex } = vera.app.read("pets", id) ?? {};
  assert.deepEqual([name, breed, sex], ["Milo IP", "Pug", "M"]);
});

/**
 * The lasting id of a pet.
 * @param {{ store: { value: import("../src/vet.js").Clinic } }} app
 * @param {string} name
 */
function find({ store }, name) {
  const found = Object.values(store.value.records).find((record) => record.name === name);
  return /** @type {string | number} */ (found?.id);
}

test("all pages are pulled, also behind an answer that was lost", async () => {
  const vera = await tablet("tablet-7");
  for (let n = 0; n < 120; n += 1) await vera.app.create("pets", pet(`Puppy ${n}`));
  await vera.app.push();
  const paul = await tablet("tablet-8", "paul");
  paul.wire.next("fine", "answer lost");
  await assert.rejects(paul.app.pull(), TypeError);
  await site.command(["user", "rotate-key", "--tenant", TENANT]);
  await paul.app.pull();
  const puppies = Object.values(paul.store.value.records).filter(({ name }) => /Puppy/.test(name));
  assert.equal(puppies.length, 120);
  assert.equal(await paul.app.pull(), 0);
});
