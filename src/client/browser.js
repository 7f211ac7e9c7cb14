// What a `<script>` gets: the global `io`.

import { io } from './socket.io.js';

globalThis.io = io;
