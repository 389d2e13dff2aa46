/**
 * Loaded before a service whose memory is measured (`--import`, with --expose-gc): on SIGUSR2 it collects all garbage, so
 * that what is measured is what is kept. The service itself is the one that ships.
 */
process.on('SIGUSR2', () => {
  if (globalThis.gc === undefined) throw new Error('start this process with --expose-gc');
  globalThis.gc();
  globalThis.gc();
});
