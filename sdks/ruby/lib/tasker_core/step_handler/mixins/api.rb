# frozen_string_literal: true

require 'json'
require 'securerandom'
require_relative '../api_response'
require_relative '../http_connection'
require_relative 'api_results'

module TaskerCore
  module StepHandler
    module Mixins
      # Calls HTTP APIs, and knows which of their errors are worth another attempt: 5xx, 408 and 429, and what comes of
      # a bad network.
      #
      # The handler's configuration says where and how: +url+, +timeout+ and +open_timeout+ (seconds; 30 and 10),
      # +ssl+, +headers+, +params+, +auth+ (+type+ of +bearer+, +basic+ or +api_key+, with +token+, or +username+ and
      # +password+; +api_key_header+), +pagination+ (+page_size+).
      #
      # If the application has loaded Faraday, requests are sent with it.
      module API
        include ApiResults

        # @!group Requests

        # @param path [String] appended to the +url+ of the configuration
        # @param params [Hash] the query
        # @param headers [Hash]
        # @return [ApiResponse]
        # @raise [Errors::PermanentError] an answer that another attempt would get, too; its code is +HTTP_404+ or so
        # @raise [Errors::RetryableError] an answer that may be another one later, with its +retry_after+
        # @raise [Errors::NetworkError, Errors::TimeoutError] no answer
        def get(path, params: {}, headers: {})
          api_request(:get, path, params: params, headers: headers)
        end

        # As {#get}.
        def delete(path, params: {}, headers: {})
          api_request(:delete, path, params: params, headers: headers)
        end

        # @param path [String] appended to the +url+ of the configuration
        # @param data [Object] sent as JSON, or as a form if the header Content-Type says so; a String as it is
        # @param headers [Hash]
        # @return [ApiResponse]
        # @raise [Errors::Error] as {#get}
        def post(path, data: {}, headers: {})
          api_request(:post, path, data: data, headers: headers)
        end

        # As {#post}.
        def put(path, data: {}, headers: {})
          api_request(:put, path, data: data, headers: headers)
        end

        # As {#post}.
        def patch(path, data: {}, headers: {})
          api_request(:patch, path, data: data, headers: headers)
        end

        # Sends a file as a form (+multipart/form-data+).
        #
        # @param path [String]
        # @param file_path [String]
        # @param field_name [String] the form's field of the file
        # @param data [Hash] other fields
        # @param content_type [String] the file's
        # @param headers [Hash]
        # @return [ApiResponse]
        # @raise [Errors::Error] as {#get}
        def api_upload_file(path, file_path, field_name: 'file', data: {}, content_type: 'application/octet-stream',
                            headers: {})
          boundary = "tasker-#{SecureRandom.hex(16)}"
          parts = data.map { |name, value| form_part(boundary, %(name="#{name}"), value.to_s) }
          parts << form_part(boundary, %(name="#{field_name}"; filename="#{File.basename(file_path)}"),
                             File.binread(file_path), content_type)
          body = parts.join << "--#{boundary}--\r\n"
          post(path, data: body, headers: headers.merge('Content-Type' => "multipart/form-data; boundary=#{boundary}"))
        end

        # Fetches all pages of a list. The items of a page are the body itself or its +data+, +items+ or +results+; the
        # next page's cursor is the body's +next_<key>+ or +<key>+, also below +pagination+ or +meta+. Ends at a page
        # without a new cursor.
        #
        # @param path [String]
        # @param method [Symbol] +:get+, or +:post+ to send cursor and limit as data
        # @param pagination_key [String] the parameter that says where the page begins
        # @param limit_key [String] the parameter that says how large it is: +pagination.page_size+, 100 by default
        # @param max_pages [Integer] no more pages than that; a warning is logged if there are more
        # @param params [Hash]
        # @param headers [Hash]
        # @yield [items, response] every page
        # @return [Array] the items of all pages
        # @raise [Errors::Error] as {#get}
        def api_paginated_request(path, method: :get, pagination_key: 'cursor', limit_key: 'limit', max_pages: 100,
                                  params: {}, headers: {})
          items = []
          query = { limit_key => page_size }.merge(params.to_h.transform_keys(&:to_s))
          max_pages.times do
            response = api_request(method, path, headers: headers, **(method == :get ? { params: query } : { data: query }))
            page = items_of(response.body)
            yield page, response if block_given?
            items.concat(page)
            cursor = next_cursor(response.body, pagination_key)
            return items if cursor.nil? || cursor == query[pagination_key]

            query = query.merge(pagination_key => cursor)
          end
          logger.warn("#{handler_name}: #{path} has more than #{max_pages} pages; the others were not fetched")
          items
        end

        # @return [HttpConnection, Object] what requests are sent with: a +Faraday::Connection+ if Faraday is loaded
        def connection
          @connection ||= build_connection
        end

        # Changes the connection before it is used.
        #
        # @yield [connection]
        # @return [HttpConnection, Object] the connection
        def configure_connection
          yield connection if block_given?
          connection
        end

        # @param response [#status, #headers, #body]
        # @return [ApiResponse] if its status is 200 to 299
        # @raise [Errors::PermanentError, Errors::RetryableError] else
        def process_response(response)
          response = api_response(response)
          return response if response.success?

          context = { status: response.status, body: response.body }
          if response.retryable?
            raise Errors::RetryableError.new(response.error_message, retry_after: response.retry_after, context: context)
          end

          raise Errors::PermanentError.new(response.error_message, error_code: "HTTP_#{response.status}", context: context)
        end

        # @!endgroup

        # @return [Array<String>] with what the mixin adds
        def capabilities
          super + %w[http_client error_classification retry_headers faraday_connection]
        end

        private

        # A subclass may have other settings than its configuration.
        def api_settings
          config || {}
        end

        def api_request(method, path, params: {}, data: nil, headers: {})
          body, headers = encoded(data, headers.to_h.transform_keys(&:to_s))
          # With a slash in front, Faraday would leave out the path of the URL.
          response = connection.run_request(method, path.delete_prefix('/'), body, headers) do |request|
            request.params.update(params.to_h.transform_keys(&:to_s))
          end
          process_response(response)
        rescue StandardError => e
          raise translated(e)
        end

        def encoded(data, headers)
          return [data, headers] if data.nil? || data.is_a?(String)

          type = headers.find { |name, _| name.downcase == 'content-type' }&.last.to_s
          return [URI.encode_www_form(data), headers] if type.start_with?('application/x-www-form-urlencoded')

          [JSON.generate(data), type.empty? ? headers.merge('Content-Type' => 'application/json') : headers]
        end

        def build_connection
          settings = Types::IndifferentHash.wrap(api_settings)
          url, headers, params, ssl = settings.values_at('url', 'headers', 'params', 'ssl')
          arguments = { url: url, headers: (headers || {}).to_h.merge(auth_headers(settings['auth'] || {})),
                        params: (params || {}).to_h, ssl: (ssl || {}).to_h }
          timeouts = { timeout: settings['timeout'] || 30, open_timeout: settings['open_timeout'] || 10 }
          return HttpConnection.new(**arguments, **timeouts) unless defined?(::Faraday)

          ::Faraday.new(**arguments, ssl: arguments[:ssl].transform_keys(&:to_sym), request: timeouts)
        end

        def auth_headers(auth)
          case auth['type']
          when 'bearer' then { 'Authorization' => "Bearer #{auth['token']}" }
          when 'basic'
            { 'Authorization' => "Basic #{["#{auth['username']}:#{auth['password']}"].pack('m0')}" }
          when 'api_key' then { (auth['api_key_header'] || 'X-API-Key') => auth['token'].to_s }
          else {}
          end
        end

        def api_response(response)
          return response if response.is_a?(ApiResponse)

          ApiResponse.new(status: response.status, headers: response.headers, body: response.body,
                          reason_phrase: response.reason_phrase)
        end

        # Faraday has errors of its own.
        def translated(error)
          return error unless defined?(::Faraday::Error) && error.is_a?(::Faraday::Error)

          timeout = defined?(::Faraday::TimeoutError) && error.is_a?(::Faraday::TimeoutError)
          (timeout ? Errors::TimeoutError : Errors::NetworkError).new(error.message)
        end

        def form_part(boundary, names, content, content_type = nil)
          type = content_type ? "Content-Type: #{content_type}\r\n" : ''
          (+"--#{boundary}\r\nContent-Disposition: form-data; #{names}\r\n#{type}\r\n").b << content.b << "\r\n"
        end

        def page_size
          (Types::IndifferentHash.wrap(api_settings)['pagination'] || {})['page_size'] || 100
        end

        def items_of(body)
          return body if body.is_a?(Array)

          found = body.is_a?(Hash) ? %w[data items results].map { |key| body[key] }.find { |value| value.is_a?(Array) } : nil
          found || []
        end

        def next_cursor(body, key)
          return nil unless body.is_a?(Hash)

          places = [body['pagination'], body['meta'], body].select { |place| place.is_a?(Hash) }
          found = places.flat_map { |place| [place["next_#{key}"], place[key]] }.compact.first
          found unless found == ''
        end
      end
    end
  end
end
