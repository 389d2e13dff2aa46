/** The version of this build, from package.json. */
import { readFileSync } from 'node:fs';
import { packagePath } from './paths.js';

const manifest = JSON.parse(readFileSync(packagePath('package.json'), 'utf8')) as { version: string };

export const VERSION = manifest.version;
