/**
 * What a service's process is started with besides its keys, by `holdfast up` and by the image.
 *
 * glibc gives every thread an arena of its own, up to eight a core, and keeps in each the greatest use so far. A service has
 * a dozen threads, whose greatest uses come with outages, one after the other: what is held grows for an hour where what is
 * in use does not. With two arenas it has its size after the first outages; acks and pipeline are as fast (bench/README.md).
 * glibc reads it before a process's first line, so it cannot be a key that a service reads itself.
 */
export const MALLOC_ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '2' };
