import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// `npm run dev` speaks with a running Weir; `--mode stories` builds the page of stories instead.
export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    outDir: mode === 'stories' ? 'dist-stories' : 'dist',
    emptyOutDir: true,
    manifest: true,
    // The policy of the page allows no code or styles in the document, and pictures only from files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: mode === 'stories' ? 'stories.html' : 'index.html' },
  },
  server: {
    proxy: { '/v1': { target: process.env['WEIR_URL'] ?? 'http://127.0.0.1:8081', ws: true } },
  },
  test: { environment: 'node', include: ['tests/**/*.test.ts'] },
}));
