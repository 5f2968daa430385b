import { mount } from 'svelte';
import App from './App.svelte';
import { start } from './start';

void start().then(() => {
  mount(App, { target: document.getElementById('app') ?? document.body });
});
