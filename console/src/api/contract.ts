// Cut out of API.md by `npm run types`; change it there.
import type { components } from './openapi';

type Schemas = components['schemas'];

export type Role = 'viewer' | 'billing' | 'developer' | 'admin' | 'owner';

/** A role for a scope: `weir`, `account:NAME`, `PROJECT`, `PROJECT/ENVIRONMENT`. */
export type Grant = Schemas['RoleGrant'] & { role: Role };

/** What a role may, by operation ids of the OpenAPI document. */
export interface RoleTable {
  roles: (Schemas['RoleRights'] & { role: Role })[];
}

export type SessionState = Omit<Schemas['SessionState'], 'state' | 'me'> & {
  /** `setup`: no person exists yet; `second-factor`: the password was right, the code is missing. */
  state: 'setup' | 'signed-out' | 'second-factor' | 'signed-in';
  /** Who is signed in. */
  me?: Me | null;
};

export type Me = Omit<Schemas['Me'], 'person' | 'may'> & {
  person: Person;
  /** What counts: her grants, with those for an account repeated for each of its projects. */
  may: Grant[];
};

export type Session = Schemas['SignedIn'];
export type TotpSecret = Schemas['TotpSecret'];
export type Token = Schemas['Token'];

export type Person = Omit<Schemas['Person'], 'state' | 'grants'> & {
  state: 'active' | 'suspended';
  grants: Grant[];
};

export type Invitation = Omit<Schemas['Invitation'], 'grants'> & { grants: Grant[] };

export interface LiveTopics {
  overview: Overview;
  environment: Schemas['EnvironmentStatus'];
  releases: ReleaseState;
  domains: Schemas['Domain'][];
  caps: Schemas['CapStanding'][];
  tasks: Schemas['Task'][];
}

export interface LiveState {
  topic: string;
  /** It was so at this instant. */
  at: string;
  data: unknown;
}

export type Overview = Omit<Schemas['Overview'], 'troubles'> & { troubles: Trouble[] };
export type OverviewEnvironment = Schemas['OverviewEnvironment'];
/** `crashed`, `degraded`, `deployment-failed`, `stopped`, `cap-soon`, `certificate`, `runaway`. */
export type Trouble = Omit<Schemas['Trouble'], 'severity'> & { severity: 'error' | 'warning' };

export type Loss = Schemas['Loss'];

export type SetScale = Schemas['SetScale'] & {
  /** Only tell what it may cost at worst. */
  dry_run?: boolean;
};

export type Accepted = Schemas['Accepted'] & {
  /** What the environment may cost at worst after it; for those who may see money. */
  worst?: WorstCase | null;
};

export interface WorstCase {
  currency: string;
  worst_per_hour: string;
  worst_per_month: string;
  /** When the tightest cap stops it at the worst. */
  reached_at_worst?: string | null;
  /** The scope of that cap. */
  scope: string;
}

export type Release = Schemas['Release'];
export type Deployment = Schemas['Deployment'];
export type ReleaseState = Schemas['ReleaseState'];

type Change = 'added' | 'removed' | 'changed';
export type ReleaseDifference = Omit<Schemas['ReleaseDifference'], 'images' | 'variables' | 'processes'> & {
  /** By app: another image, none before, none after. */
  images: { app: string; change: Change }[];
  /** Names only; values are never shown. */
  variables: { name: string; change: Change; secret: boolean }[];
  processes: { process: string; change: Change; detail: string }[];
};

export type LogLine = Schemas['LogLine'] & { id: string };

export interface Metrics {
  from: string;
  until: string;
  step_s: number;
  series: MetricSeries[];
  /** Releases that became live within. */
  marks: { at: string; release: number; kind: string }[];
}

export interface MetricSeries {
  name: string;
  /** `1/s`, `s`, `cores`, `bytes`, `bytes/s`, `instances`, or a currency with `/h`. */
  unit: string;
  app?: string | null;
  process?: string | null;
  values: (number | null)[];
}

export type AuditEntry = Schemas['AuditEntry'];

export interface CreateUpload {
  /** Bytes in all. */
  size: number;
  /** For people: name of the folder or the archive. */
  name: string;
}

export interface Upload {
  id: string;
  size: number;
  received: number;
  expires: string;
  /** Of a `tree`: what was neither a file nor a folder. */
  left_out?: string[];
}

export interface Proposal {
  apps: { app: string; folder: string; kind: string; because: string }[];
  /** A whole weir.toml. */
  toml: string;
  /** Why a line stands in it; lines are counted from 1. */
  explanations: { line: number; text: string }[];
  /** The weir.toml in the source, if there is one. */
  present?: string | null;
  /** What is wrong or missing. */
  problems: { title: string; hint?: string | null; line?: number | null }[];
  worst?: WorstCase | null;
}

export interface DeployUpload {
  message?: string;
  /** Takes the place of the one in the source. */
  toml?: string;
  canary?: string;
  canary_header?: string;
}

export interface Volume {
  /** As paths of the API name it; with the app and a point before it where several apps have one of that name. */
  name: string;
  app: string;
  /** Where it is in the instance. */
  path: string;
  writers: 'one' | 'many';
  bytes: number;
  files: number;
  /** `bytes` and `files` were counted then. */
  counted: string;
}

export interface FileEntry {
  /** As it is to be shown; what is not UTF-8 is replaced. */
  name: string;
  /** As it is to be sent: see above. */
  path: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  bytes: number;
  modified: string;
  /** In octal, like `0644`. */
  mode: string;
  /** Where a link leads to. */
  target?: string | null;
}

export interface Folder {
  path: string;
  entries: FileEntry[];
  /** Ask with `after` = the last name. */
  more: boolean;
}

export interface CreateFileUpload extends CreateUpload {
  path: string;
  /** `tree`: a tar that is unpacked into the folder `path`. */
  kind: 'file' | 'tree';
  /** Whether files that are there are replaced; if not: 409 `file-exists`. */
  replace: boolean;
}

export interface CreateFolder {
  path: string;
}

export interface MoveFile {
  from: string;
  to: string;
}

export interface HelpRequest {
  id: string;
  subject: string;
  scope?: string | null;
  /** `open`: waits for the operator; `answered`: for the person. */
  state: 'open' | 'answered' | 'closed';
  by: string;
  created: string;
  updated: string;
  /** In lists absent. */
  messages?: HelpMessage[];
  context?: HelpContext | null;
}

export interface HelpMessage {
  id: string;
  at: string;
  by: string;
  operator: boolean;
  text: string;
}

export interface HelpContext {
  at: string;
  parts: { title: string; text: string }[];
}

export interface CreateHelp {
  subject: string;
  text: string;
  scope?: string;
  attach: boolean;
}

export interface CreateHelpMessage {
  text: string;
}

export interface UpdateHelp {
  state: 'open' | 'closed';
}

/** Answers and bodies that differ from the OpenAPI document, or are not in it. */
export interface Contract {
  'GET /v1/session': { answer: SessionState };
  'POST /v1/session': { body: Schemas['CreateSession']; answer: SessionState };
  'POST /v1/session/second-factor': { body: Schemas['SecondFactor']; answer: SessionState };
  'POST /v1/setup': { body: Schemas['Setup']; answer: SessionState };
  'POST /v1/password-resets/use': { body: Schemas['UseReset']; answer: SessionState };
  'POST /v1/invitations/accept': { body: Schemas['AcceptInvitation']; answer: SessionState };
  'GET /v1/roles': { answer: RoleTable };
  'PATCH /v1/me': { body: Schemas['UpdateMe']; answer: Me };
  'GET /v1/people': { answer: Person[] };
  'PUT /v1/people/{person}/grants': { body: Schemas['SetGrants']; answer: Person };
  'GET /v1/invitations': { answer: Invitation[] };
  'POST /v1/invitations': { body: Schemas['CreateInvitation']; answer: Invitation };

  'GET /v1/live': { answer: string; query: { topic: string[] } };
  'GET /v1/overview': { answer: Overview };

  'DELETE /v1/projects/{project}': { answer: Accepted; query: { confirm?: string } };
  'DELETE /v1/projects/{project}/environments/{environment}': { answer: Accepted; query: { confirm?: string } };
  'GET /v1/projects/{project}/environments/{environment}/loss': { answer: Loss };
  'PUT /v1/projects/{project}/environments/{environment}/scale': { body: SetScale; answer: Accepted };

  'GET /v1/projects/{project}/environments/{environment}/releases': { answer: Release[]; query: { limit?: number } };
  'GET /v1/projects/{project}/environments/{environment}/deployments': { answer: Deployment[]; query: { limit?: number } };
  'GET /v1/projects/{project}/environments/{environment}/releases/{number}/difference': {
    answer: ReleaseDifference;
    query: { to?: number };
  };

  'GET /v1/projects/{project}/environments/{environment}/logs': { answer: LogLine[]; query: LogsQuery };
  'GET /v1/projects/{project}/environments/{environment}/logs/text': { answer: string; query: LogsQuery };
  'GET /v1/projects/{project}/environments/{environment}/metrics': {
    answer: Metrics;
    query: { series?: string; from?: string; until?: string; step_s?: number; by?: 'process' };
  };

  'GET /v1/tasks': { answer: Schemas['Task'][]; query: TasksQuery };
  /** list_changes: the same address as watch_changes, by `Accept` */
  'GET /v1/events': { answer: Schemas['Change'][]; query: ChangesQuery };
  'GET /v1/audit': { answer: AuditEntry[]; query: AuditQuery };

  'POST /v1/projects/{project}/environments/{environment}/uploads': { body: CreateUpload; answer: Upload };
  'GET /v1/projects/{project}/environments/{environment}/uploads/{upload}': { answer: Upload };
  'PATCH /v1/projects/{project}/environments/{environment}/uploads/{upload}': { body: Blob; answer: Upload };
  'DELETE /v1/projects/{project}/environments/{environment}/uploads/{upload}': { answer: void };
  'GET /v1/projects/{project}/environments/{environment}/uploads/{upload}/proposal': { answer: Proposal };
  'GET /v1/projects/{project}/environments/{environment}/proposal': { answer: Proposal };
  'POST /v1/projects/{project}/environments/{environment}/uploads/{upload}/deployment': {
    body: DeployUpload;
    answer: Accepted;
  };

  'GET /v1/projects/{project}/environments/{environment}/volumes': { answer: Volume[] };
  'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/files': {
    answer: Folder;
    query: { path: string; after?: string; limit?: number };
  };
  'DELETE /v1/projects/{project}/environments/{environment}/volumes/{volume}/files': {
    answer: Accepted;
    query: { path: string; confirm: string };
  };
  'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/content': {
    answer: string;
    query: { path: string };
  };
  'PUT /v1/projects/{project}/environments/{environment}/volumes/{volume}/content': {
    body: Blob;
    answer: FileEntry;
    query: { path: string };
  };
  'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/archive': {
    answer: Blob;
    query: { path: string; format: string };
  };
  'POST /v1/projects/{project}/environments/{environment}/volumes/{volume}/folders': {
    body: CreateFolder;
    answer: FileEntry;
  };
  'POST /v1/projects/{project}/environments/{environment}/volumes/{volume}/moves': { body: MoveFile; answer: void };
  'POST /v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads': {
    body: CreateFileUpload;
    answer: Upload;
  };
  'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}': { answer: Upload };
  'PATCH /v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}': {
    body: Blob;
    answer: Upload;
  };
  'DELETE /v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}': { answer: void };

  'GET /v1/help': { answer: HelpRequest[]; query: { state?: string; before?: string; limit?: number } };
  'POST /v1/help': { body: CreateHelp; answer: HelpRequest };
  'GET /v1/help/{request}': { answer: HelpRequest };
  'POST /v1/help/{request}/messages': { body: CreateHelpMessage; answer: HelpRequest };
  'PATCH /v1/help/{request}': { body: UpdateHelp; answer: HelpRequest };
  'GET /v1/help-context': { answer: HelpContext; query: { scope: string } };
}

/** The newest that match, unless one of `before`, `after`, `around` says otherwise. */
export interface LogsQuery {
  app?: string;
  process?: string;
  instance?: string;
  stream?: string;
  grep?: string;
  since?: string;
  until?: string;
  before?: string;
  after?: string;
  around?: string;
  limit?: number;
  build?: boolean;
  access?: boolean;
  follow?: boolean;
}

export interface TasksQuery {
  before?: string;
  limit?: number;
  project?: string;
  environment?: string;
  state?: string;
}

export interface ChangesQuery {
  before?: number;
  after?: number;
  limit?: number;
  project?: string;
  environment?: string;
  kind?: string;
}

export interface AuditQuery {
  before?: number;
  limit?: number;
  since?: string;
  until?: string;
  who?: string;
  operation?: string;
  scope?: string;
  text?: string;
  format?: 'csv';
}
