// What the page needs of Uppy.

export { default as Uppy } from '@uppy/core';
export { default as Dashboard } from '@uppy/dashboard';
export { default as Tus } from '@uppy/tus';
