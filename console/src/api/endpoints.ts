//! Types of requests and answers by `METHOD /path`: what API.md adds, else the OpenAPI document.

import type { Contract } from './generated/contract';
import type { components, paths } from './generated/openapi';

export type Schemas = components['schemas'];
export type * from './generated/contract';

type Method = 'get' | 'put' | 'post' | 'delete' | 'patch';
type Content<T> = T extends { content: infer C } ? C[keyof C] : void;
type Good<R> = { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Content<R[S]> : never }[keyof R];
type BodyOf<O> = O extends { requestBody?: infer B } ? (Exclude<B, undefined> extends never ? never : Content<Exclude<B, undefined>>) : never;
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? Exclude<Q, undefined> : never;

type ExistingKey = {
  [P in keyof paths & string]: {
    [M in Method]: paths[P][M] extends undefined ? never : `${Uppercase<M>} ${P}`;
  }[Method];
}[keyof paths & string];

type Operation<K> = K extends `${infer M} ${infer P}`
  ? P extends keyof paths
    ? Lowercase<M> extends keyof paths[P]
      ? paths[P][Lowercase<M>]
      : never
    : never
  : never;

/** An endpoint, as `GET /v1/projects/{project}`. */
export type Key = ExistingKey | keyof Contract;

export type Answer<K extends Key> = K extends keyof Contract
  ? Contract[K]['answer']
  : Operation<K> extends { responses: infer R }
    ? Good<R>
    : never;

export type Body<K extends Key> = K extends keyof Contract
  ? Contract[K] extends { body: infer B }
    ? B
    : never
  : BodyOf<Operation<K>>;

export type Query<K extends Key> = K extends keyof Contract
  ? Contract[K] extends { query: infer Q }
    ? Q
    : never
  : QueryOf<Operation<K>>;

type Names<P> = P extends `${string}{${infer N}}${infer Rest}` ? N | Names<Rest> : never;

/** What is to be filled in at `{…}`. */
export type Path<K extends Key> = Record<Names<K>, string | number>;
