// The harness is a client, too: of itself, so that a check that notices nothing is noticed.

export default {
  needs: ['node'],
  locks: [],
  made: [],
  install: async () => {},
};
