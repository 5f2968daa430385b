//! Scopes of grants: `weir`, `account:NAME`, `PROJECT`, `PROJECT/ENVIRONMENT`. Pure.

/** Whether what is granted for `granted` holds in `scope`. */
export function covers(granted: string, scope: string): boolean {
  return granted === 'weir' || granted === scope || scope.startsWith(`${granted}/`);
}

/** The scope of a project or of an environment in it. */
export function scopeOf(project: string, environment?: string | null): string {
  return environment ? `${project}/${environment}` : project;
}
