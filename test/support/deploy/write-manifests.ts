/** Writes k8s/holdfast.yaml, what `kubectl apply -f k8s` applies, from the folders beside it. */
import { writeFileSync } from 'node:fs';
import { packagePath } from '../../../shared/paths.js';
import { asFile, render } from './render.js';

writeFileSync(packagePath('k8s', 'holdfast.yaml'), asFile(render(packagePath('k8s'))));
