//! Series of figures over time, as charts want them. Pure.

import type { Metrics, MetricSeries } from '../api/endpoints';

export interface Range {
  name: string;
  /** How far back from now. */
  ms: number;
}

const HOUR = 3_600_000;

export const RANGES: Range[] = [
  { name: '1h', ms: HOUR },
  { name: '6h', ms: 6 * HOUR },
  { name: '1d', ms: 24 * HOUR },
  { name: '7d', ms: 7 * 24 * HOUR },
  { name: '30d', ms: 30 * 24 * HOUR },
];

/** Instants in seconds, and the values of each series at them; `null` where nothing was measured. */
export function table(metrics: Metrics, names: string[]): { times: number[]; series: MetricSeries[] } {
  const from = Date.parse(metrics.from) / 1000;
  const series = names.flatMap((name) => metrics.series.filter((one) => one.name === name));
  const length = Math.max(0, ...series.map((one) => one.values.length));
  return { times: Array.from({ length }, (_, index) => from + index * metrics.step_s), series };
}

/** Newest, least, most and mean of a series, for those who do not see the chart. */
export function summary(values: (number | null)[]): { last: number | null; least: number; most: number; mean: number } | null {
  const measured = values.filter((value): value is number => value !== null);
  if (measured.length === 0) return null;
  return {
    last: values.at(-1) ?? null,
    least: Math.min(...measured),
    most: Math.max(...measured),
    mean: measured.reduce((sum, value) => sum + value, 0) / measured.length,
  };
}
