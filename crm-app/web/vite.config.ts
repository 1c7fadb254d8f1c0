import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { VitePWA } from 'vite-plugin-pwa';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [
    react(),
    tailwindcss(),
    VitePWA({
      // The person decides when to reload: a form may be half filled in.
      registerType: 'prompt',
      injectRegister: false,
      manifest: {
        id: '/',
        name: 'Tenantry CRM',
        short_name: 'Tenantry',
        description: 'Customers, contacts and what comes next.',
        start_url: '/',
        scope: '/',
        display: 'standalone',
        background_color: '#FAFAF8',
        theme_color: '#FAFAF8',
        icons: [
          { src: '/icons/seal.svg', sizes: 'any', type: 'image/svg+xml' },
          { src: '/icons/seal-192.png', sizes: '192x192', type: 'image/png' },
          { src: '/icons/seal-512.png', sizes: '512x512', type: 'image/png' },
          { src: '/icons/seal-maskable-512.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
        ],
      },
      workbox: {
        // The shell only. Customers' data never enters the HTTP cache.
        globPatterns: ['**/*.{js,css,html,svg,webmanifest}', 'icons/*.png'],
        navigateFallback: '/index.html',
        navigateFallbackDenylist: [/^\/api\//],
        cleanupOutdatedCaches: true,
      },
    }),
  ],
  build: {
    // Nothing is inlined: the content security policy allows neither data: scripts nor styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': process.env['CRM_API'] ?? 'http://127.0.0.1:8080' } },
  test: {
    include: ['src/**/*.test.{ts,tsx}'],
    // Tests must not depend on the machine's own zone.
    env: { TZ: 'UTC' },
  },
});
