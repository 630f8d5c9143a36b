/* banned.h -- turns the C library's unbounded or silently failing functions into compile errors.
 * Include it last. */
#pragma once

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll gets strncpy
