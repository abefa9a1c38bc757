/* xenguest.h is not self-contained: it needs the headers before it, in this order. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <xentoollog.h>
#include <xenctrl.h>
#include <xenguest.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
