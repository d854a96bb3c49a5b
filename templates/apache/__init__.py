"""Apache httpd 2.4: plain sites by mass virtual hosting, others as one file for each account."""
