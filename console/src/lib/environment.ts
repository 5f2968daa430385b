//! The environment that the pages below its frame are about.

import { createContext } from 'svelte';
import type { Schemas } from '../api/endpoints';
import type { Topic } from './live.svelte';

export interface EnvironmentContext {
  readonly project: string;
  readonly environment: string;
  /** `PROJECT/ENVIRONMENT`. */
  readonly scope: string;
  /** For the path of requests. */
  readonly path: { project: string; environment: string };
  readonly status: Topic<Schemas['EnvironmentStatus']>;
  /** Whether she may do this here. */
  may(operation: string): boolean;
}

export const [getEnvironment, setEnvironment] = createContext<EnvironmentContext>();
