// The service worker of the asset app: what a browser wakes when there is a network again.
//
// In a browser the script is two lines: `attach(self, () => openApp())`.

/** The tag that the app registers when it has queued something. */
export const TAG = "sync-all";

/**
 * @typedef {{ tag: string, lastChance: boolean, clientId: string }} Task
 * @typedef {{ sync(): Promise<unknown> }} App
 * @typedef {object} SyncEvent
 * @property {string} tag
 * @property {boolean} lastChance whether the browser gives up after this attempt
 * @property {(work: Promise<unknown>) => void} waitUntil
 *
 * @typedef {object} Scope the part of ServiceWorkerGlobalScope that is used
 * @property {(type: "sync", listener: (event: SyncEvent) => void) => void} addEventListener
 * @property {{ showNotification(title: string, options: { body: string }): Promise<void> }} registration
 */

/**
 * @param {Scope} scope
 * @param {() => Promise<App>} openApp a worker is ended when it idles, so each event opens the app
 */
export function attach(scope, openApp) {
  scope.addEventListener("sync", (event) => {
    if (event.tag !== TAG) return;
    const task = { tag: TAG, lastChance: event.lastChance, clientId: "service-worker" };
    event.waitUntil(processSyncEvent(scope, openApp, task));
  });
}

/**
 * A failure is passed on: that is how the browser learns that it has to come again.
 * @param {Scope} scope
 * @param {() => Promise<App>} openApp
 * @param {Task} task
 */
export async function processSyncEvent(scope, openApp, { lastChance }) {
  try {
    await (await openApp()).sync();
  } catch (error) {
    if (lastChance) {
      const body = "Your changes are safe on this device and are sent when you open the app.";
      await scope.registration.showNotification("Could not sync", { body });
    }
    throw error;
  }
}
