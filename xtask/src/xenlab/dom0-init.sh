#!/bin/busybox sh
# The first program of dom0. Kernel command line: hostid=N xenstored=c|ocaml.
/bin/busybox --install -s /bin
export PATH=/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/xen-hotplug /dev/shm /run/xen /run/xenstored /run/sshd /run/lock /var/lib/xen /var/lib/xenstored /var/lib/vmm /var/log/xen/console
# Only a limit; images and streams of tests take what they need.
mount -o remount,size=90% /
mount -t devpts devpts /dev/pts
# udev's; the locks of Xen's hotplug scripts wait for ever without them.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t tmpfs shm /dev/shm
ln -s /run /var/run
ln -s /run/lock /var/lock
argument() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

for module in $(cat /etc/modules); do
    modprobe "$module" || echo "DOM0 LACKS module $module"
done
mount -t xenfs xenfs /proc/xen

id=$(argument hostid)
hostname "xen$id"
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
# Guests' NICs, dom0 and the other hosts are on one Ethernet segment. Ports forward at once: nothing here can loop.
brctl addbr br0
brctl setfd br0 0
echo 0 > /sys/class/net/br0/bridge/multicast_snooping
ip link set eth1 master br0
ip link set eth1 up
ip addr add "10.77.0.$id/24" dev br0
ip link set br0 up

case $(argument xenstored) in
c) xenstored --pid-file /run/xenstore.pid ;;
*) oxenstored --pid-file /run/xenstore.pid ;;
esac
tries=0
while [ ! -S /run/xenstored/socket ] && [ $tries -lt 200 ]; do
    sleep .1
    tries=$((tries + 1))
done
[ -S /run/xenstored/socket ] || echo "DOM0 LACKS xenstored"
xen-init-dom0 || echo "DOM0 LACKS its own entries in xenstore"
# Guests' consoles end in /var/log/xen/console/guest-NAME.log as well.
xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/var/log/xen/console
truncate -s 16M /g/disk.img
# What all hosts reach, under one name.
mkdir /san
ln -s /dev/vda /san/disk0
/usr/sbin/sshd
echo "DOM0 READY $(cut -d' ' -f1 /proc/uptime)"
exec setsid cttyhack sh
